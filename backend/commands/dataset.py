"""`das dataset check|stats|preview`: what is wrong with a dataset, how much moves in it, how it looks."""

from __future__ import annotations

import argparse

import numpy as np

from ...shared.dataset import Dataset, clips_in_words
from ...shared.errors import UsageError
from ...shared.report import Reporter
from ..images import ImageioImages
from ..training import inspection

STILL = 0.005  # of the width

def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return {"check": check, "stats": stats, "preview": preview}[args.action](args, reporter)


def check(args: argparse.Namespace, reporter: Reporter) -> int:
    """A line a finding; exit code 2 where there is one."""
    findings = inspection.check(args.root, lambda done, total: reporter.progress("look at clips", done, total))
    for one in findings:
        reporter.event("finding", file=one.file, line=one.line, message=one.message, fix=one.fix)
    count = 0 if findings else len(Dataset.open(args.root).clips)
    text = "\n".join(map(str, findings)) or f"{args.root} is right: {clips_in_words(count)}."
    reporter.result(text, findings=len(findings), clips=count)
    return UsageError.exit_code if findings else 0


def stats(args: argparse.Namespace, reporter: Reporter) -> int:
    """How much is followed and how far it moves, by clip and altogether."""
    clips = _clips(args)
    found = list(inspection.motions(clips, lambda done, total: reporter.progress("look at clips", done, total)))
    lines = [f"{'clip':<12} {'followed':>9} {'moved':>9}"]
    lines += [f"{one.name:<12} {one.coverage:>9.1%} {one.moved:>9.1%}" for one in found]
    middle = inspection.Motion("median", *(float(np.median(values)) for values in list(zip(*found))[1:]))
    lines.append(f"{middle.name:<12} {middle.coverage:>9.1%} {middle.moved:>9.1%}")
    still = [one.name for one in found if one.moved < STILL]
    if still:
        lines.append(f"In {len(still)} clips hardly anything moves: {', '.join(still[:10])}{' ...' if len(still) > 10 else ''}.")
    lines.append("followed: pixels with a tracking colour; moved: from the first frame to the last, as a share of the width.")
    reporter.result("\n".join(lines), clips=[one._asdict() for one in found], median=middle._asdict())
    return 0


def preview(args: argparse.Namespace, reporter: Reporter) -> int:
    """A contact sheet of the first clips."""
    clips = _clips(args)[: args.count]
    output = args.output or args.root / "preview.png"
    sheet = inspection.preview(clips, lambda done, total: reporter.progress("draw clips", done, total))
    ImageioImages().write(output, sheet)
    reporter.result(str(output), file=str(output), clips=len(clips))
    return 0


def _clips(args: argparse.Namespace) -> list:
    clips = Dataset.open(args.root).clips
    if not clips:
        raise UsageError(f"{args.root} holds no clips.", "Make some with das dataset blender.")
    return clips
