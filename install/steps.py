"""Run one slow step: its output into a log, what goes on onto the terminal, and nothing left running after Ctrl-C."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from .errors import InstallError

LOOK_EVERY = 0.1  # seconds


def say(text: str = "") -> None:
    print(text, flush=True)


def run_step(label: str, command: list, log: Path, cwd: Path, seconds: float = math.inf) -> None:
    """Run ``command``, its output appended to ``log``. Raises InstallError with the log's end if it fails, or has not ended in time."""
    say(f"{label} ...")
    start = time.monotonic()
    with open(log, "ab") as output:
        child = subprocess.Popen(
            [str(word) for word in command], cwd=cwd, env=clean_environment(),
            stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
        )  # fmt: skip
        try:
            code = watch(child, start, seconds)
        finally:
            stop(child)
    if code is None:
        raise InstallError(f"{label}: did not end within {seconds:.0f} s.\n{tail(log)}", f"All of it is in {log}.")
    if code:
        raise InstallError(f"{label}: failed with code {code}.\n{tail(log)}", f"All of it is in {log}.")
    say(f"{label}: done in {time.monotonic() - start:.0f} s")


def watch(child: subprocess.Popen, start: float, seconds: float) -> int | None:
    """Wait so long for the child's exit code; on a terminal count the seconds meanwhile."""
    while (code := child.poll()) is None and time.monotonic() - start < seconds:
        if sys.stdout.isatty():
            print(f"\r  {time.monotonic() - start:4.0f} s ", end="", flush=True)
        time.sleep(LOOK_EVERY)
    if sys.stdout.isatty():
        print("\r" + " " * 10 + "\r", end="", flush=True)
    return code


def stop(child: subprocess.Popen, patience: float = 10) -> None:
    """End a child that may still run: ask, wait, kill."""
    if child.poll() is not None:
        return
    child.terminate()
    try:
        child.wait(patience)
    except subprocess.TimeoutExpired:
        child.kill()
        child.wait()


def stop_tree(child: subprocess.Popen, patience: float = 10) -> None:
    """End a child that was started with ``start_new_session``, and all that it has started: venv and pip have children too."""
    if child.poll() is not None:
        return
    if os.name == "nt":
        subprocess.run(["taskkill", "/T", "/F", "/PID", str(child.pid)], capture_output=True, timeout=60)
        child.wait(patience)
        return
    os.killpg(child.pid, signal.SIGTERM)
    stop(child, patience)
    with contextlib.suppress(ProcessLookupError):  # none of them is left
        os.killpg(child.pid, signal.SIGKILL)


def clean_environment() -> dict[str, str]:
    """The environment without what leads another Python's packages into ours."""
    return {
        key: value for key, value in os.environ.items() if key not in ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")
    }


def tail(log: Path, lines: int = 15) -> str:
    return "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])
