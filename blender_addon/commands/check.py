"""`das check FILE`: whether the shot can work, in numbers and findings."""

from __future__ import annotations

import argparse

import msgspec

from ...shared import options
from ...shared.errors import DONE, SceneError, UsageError
from ...shared.interrupt import cancelled_by_signal
from ...shared.measurements import table
from ...shared.preflight import Finding, blocks
from ...shared.report import Reporter
from ...shared.request import GenerationRequest, check
from .. import properties
from ..preflight import Check, Report
from ..scene_checks import from_error
from .scene_file import open_scene, request_from

MARKS = {"block": "BLOCKS ", "warning": "warning", "info": "note   "}


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    """The exit code: 3 where a finding blocks, with --strict where a warning does."""
    changes = options.changes(args)
    check(msgspec.structs.replace(GenerationRequest(), **changes))  # options wrong by themselves are the user's, exit code 2
    report = _report(args, reporter, changes)
    _tell(report, reporter, args.strict)
    return SceneError.exit_code if blocks(report.findings, args.strict) else DONE


def check_first(args: argparse.Namespace, reporter: Reporter) -> None:
    """The findings of a shot that is about to be captured, told; SceneError with the first that blocks."""
    job = Check(scene := open_scene(args, args.file), request_from(args, scene), tell=lambda step: reporter.progress(*step))
    with cancelled_by_signal(job.cancel):
        findings = job.run().findings
    for finding in findings:
        reporter.event("finding", **msgspec.to_builtins(finding))
    if blocks(findings):
        raise SceneError(findings[0].message, findings[0].fix)


def _report(args: argparse.Namespace, reporter: Reporter, changes: dict) -> Report:
    try:
        scene = open_scene(args, args.file)
        request = msgspec.structs.replace(properties.request_of(scene), **changes)
    except SceneError as error:
        return _unusable(from_error(error, "scene"))
    except UsageError as error:
        if not _is_open(args):
            raise
        return _unusable(from_error(error, "settings"))
    job = Check(scene, request, with_first_frame=args.with_first_frame, tell=lambda step: reporter.progress(*step))
    with cancelled_by_signal(job.cancel):
        return job.run()


def _is_open(args: argparse.Namespace) -> bool:
    """Was the scene opened, so that an error is of its settings and not of the path?"""
    return args.file is None or args.file.is_file()


def _unusable(finding: Finding) -> Report:
    return Report(request=GenerationRequest(), findings=[finding])


def _tell(report: Report, reporter: Reporter, strict: bool) -> None:
    for finding in report.findings:
        reporter.event("finding", **msgspec.to_builtins(finding))
    reporter.result(_text(report), ok=not blocks(report.findings, strict), summary=report.summary(), **_fields(report))


def _fields(report: Report) -> dict:
    measured = report.measured
    return {
        "seconds": report.seconds,
        "findings": [msgspec.to_builtins(finding) for finding in report.findings],
        "measurements": msgspec.to_builtins(measured) if measured else None,
    }


def _text(report: Report) -> str:
    """A table of numbers, the findings worst first, and the summary."""
    rows = table(report.measured) if report.measured else []
    width = max((len(name) for name, _ in rows), default=0)
    lines = [f"{name:<{width}}  {value}" for name, value in rows] + [""] * bool(rows)
    for finding in report.findings:
        lines.append(f"{MARKS[finding.severity]}  {finding.message}")
        lines += [f"         {finding.fix}"] * bool(finding.fix)
    return "\n".join([*lines, report.summary()])
