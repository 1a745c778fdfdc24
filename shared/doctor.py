"""`das doctor`: what is installed, what works, and what to do about what does not. Never fails itself."""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import msgspec

from . import backend_process, client, home
from .errors import DasError, UsageError
from .home import Environment, Room
from .report import Reporter

SECONDS_TO_ANSWER = 120.0
SECONDS_TO_CONNECT = 3.0


class Finding(msgspec.Struct, kw_only=True):
    """One thing that was looked at. ``ok`` is False where something has to be done, and ``fix`` says what."""

    name: str
    value: str
    ok: bool = True
    fix: str = ""


def run(args: argparse.Namespace, reporter: Reporter, room: Room, own: dict[str, Callable[[], str]]) -> int:
    """Look at ``own`` (what only this room can say, by name), and without --here at everything else too."""
    findings = [look(name, question) for name, question in own.items()]
    if not args.here:
        findings = _common() + findings
        for entry in _others(room):
            reporter.progress(f"asking {entry.name}", 0, 1)
            findings += _ask(entry)
    _tell(reporter, findings)
    return 0


def look(name: str, question: Callable[[], str]) -> Finding:
    """What a question answers; what goes wrong on the way is a finding too."""
    try:
        return Finding(name=name, value=question())
    except DasError as error:
        return Finding(name=name, value=error.message, ok=False, fix=error.fix)
    except Exception as error:  # the doctor must come to its end, whatever is broken
        return Finding(name=name, value=f"{type(error).__name__}: {error}", ok=False, fix="Report this with the output of das doctor.")


def _common() -> list[Finding]:
    questions = {
        "system": lambda: f"{platform.platform()}, {os.cpu_count()} processors",
        "python": lambda: f"{platform.python_version()} ({sys.executable})",
        "home": lambda: _writable(home.home()),
        "spool": lambda: _writable(home.spool_folder()),
        "logs": lambda: _writable(home.log_folder()),
        "environments": _environments,
        "running backend": _running_backend,
    }
    return [look(name, question) for name, question in questions.items()]


def _writable(folder: Path) -> str:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise UsageError(f"{folder} cannot be written: {error.strerror}.", "Set DAS_HOME to a folder of yours.") from None
    return f"{folder}"


def _environments() -> str:
    backends, blenders = home.environments("backend"), home.environments("blender")
    lacking = [name for name, known in (("backend", backends), ("Blender", blenders)) if not known]
    if lacking:
        raise UsageError(f"No {' and no '.join(lacking)} is known.", "Run python3 install/run.py setup in the project's folder.")
    return f"backend; Blender {', '.join(entry.blender or '?' for entry in blenders)} ({home.environments_file()})"


def _running_backend() -> str:
    connection = backend_process.find_backend()
    if connection is None:
        return "none; das generate starts one when it is needed"
    with client.connect(connection, "doctor", SECONDS_TO_CONNECT) as peer:
        engines = ", ".join(engine.name for engine in peer.engines if engine.available)
        workers = "; ".join(f"{worker.device} ({worker.state})" for worker in peer.welcome.workers)
        return f"process {connection.pid} at {connection.address}, engines {engines}, workers: {workers}"


def _others(room: Room) -> list[Environment]:
    """Every known Python but this one."""
    here = Path(sys.executable)
    try:
        known = home.environments("backend") + home.environments("blender")
    except UsageError:
        return []  # a finding already, under "environments"
    return [entry for entry in known if entry.room != room or Path(entry.python) != here]


def _ask(entry: Environment) -> list[Finding]:
    """What another Python finds in itself."""
    command = [entry.python, "-m", __package__.split(".")[-2], "doctor", "--here", "--json"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS_TO_ANSWER)
        told = json.loads(answer.stdout.strip().splitlines()[-1])
        found = msgspec.convert(told["findings"], list[Finding])
    except (OSError, subprocess.TimeoutExpired, ValueError, LookupError, msgspec.ValidationError) as error:
        fix = "Make the environments again with python3 install/run.py setup."
        return [Finding(name=entry.name, value=f"{entry.python} gives no answer: {type(error).__name__}", ok=False, fix=fix)]
    for finding in found:
        finding.name = f"{entry.name}: {finding.name}"
    return found


def _tell(reporter: Reporter, findings: list[Finding]) -> None:
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        lines.append(f"{' ' if finding.ok else '!'} {finding.name:<{width}}  {finding.value}")
        if finding.fix:
            lines.append(f"  {'':<{width}}  {finding.fix}")
    reporter.result("\n".join(lines), findings=msgspec.to_builtins(findings), ok=all(finding.ok for finding in findings))
