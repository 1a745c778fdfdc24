"""Processes of the soak: how they are killed, what memory they hold, waiting with a bound."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

Value = TypeVar("Value")


def until(happened: Callable[[], Value], seconds: float, what: str) -> Value:
    """Poll until ``happened()`` is true, and its value; AssertionError naming ``what`` where that takes too long."""
    end = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < end, f"{what}: not within {seconds:.0f} s"
        time.sleep(0.01)
    return value


def files_below(folder: Path) -> list[Path]:
    """All files below a folder, which somebody may be dropping meanwhile."""
    return [Path(place) / name for place, _, names in os.walk(folder) for name in names]


def kill(pid: int) -> bool:
    """End a process as a crash would; whether there was one."""
    try:
        os.kill(pid, getattr(signal, "SIGKILL", signal.SIGTERM))  # on Windows SIGTERM is TerminateProcess
    except ProcessLookupError:
        return False
    return True


def freeze(pid: int) -> bool:
    """Let a process do nothing any more, as one that hangs; killed where the system has no such thing. Whether there was one."""
    try:
        os.kill(pid, getattr(signal, "SIGSTOP", signal.SIGTERM))
    except ProcessLookupError:
        return False
    return True


def memory(pid: int) -> int | None:
    """Bytes that a process holds in main memory of its own, file mappings not counted; None where the system does not say."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except FileNotFoundError:
        return None
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("RssAnon:"))


def can_measure_memory() -> bool:
    return memory(os.getpid()) is not None
