"""How long the server's event loop is kept by each of its steps: nobody is answered meanwhile, whoever asks.

Counted is a step's own time: what it computes and waits for (disk, locks), but not the time in which the system let others have
the core (Linux: the second number of schedstat). Another thread of the server may have been kept from its core meanwhile,
while this one waited for what that one held. Nothing here imports the package: it comes before it.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

NOTED_SECONDS = 0.005
SECONDS_BETWEEN_LOOKS = 0.5  # for new threads
SCHEDSTAT = "/proc/thread-self/schedstat"


class Step(NamedTuple):
    """Seconds of its own, seconds for which other threads of the server waited for a core meanwhile, and whose step it is."""

    own: float
    queued: float
    whose: str


def variables() -> dict[str, str]:
    """What a backend's environment must have for this."""
    return {"PYTHONPATH": str(Path(__file__).parent / "site_steps")}


def can_tell() -> bool:
    """This system says how long a thread waited for a core."""
    return os.path.exists(SCHEDSTAT)


def noted(home: Path, since: float) -> list[Step]:
    """Steps of at least NOTED_SECONDS from a time (steady clock) on, the longest first."""
    file = home / "steps.txt"
    lines = [line.split(maxsplit=3) for line in file.read_text().splitlines()] if file.exists() else []
    return sorted((Step(float(own), float(queued), whose) for at, own, queued, whose in lines if float(at) >= since), reverse=True)


def queued(pid: int) -> float:
    """Seconds in which a process's threads wanted to run and others did, so far, all added up; 0 where the system does not say."""
    total = 0
    for file in Path(f"/proc/{pid}/task").glob("*/schedstat"):
        try:
            total += int(file.read_bytes().split()[1])
        except (FileNotFoundError, ProcessLookupError):
            continue  # the thread has ended
    return total / 1e9


# ---- inside the server


def install() -> None:
    """Called as a process starts; the home is DAS_HOME's."""
    if "serve" not in sys.orig_argv or not can_tell():
        return
    notes = open(Path(os.environ["DAS_HOME"]) / "steps.txt", "a", buffering=1)  # as long as the process
    mine, others, run = _Queue([SCHEDSTAT]), _Others(), asyncio.Handle._run

    def timed(handle: asyncio.Handle) -> None:
        others.look()
        waited, waited_there, began = mine.seconds(), others.seconds(), time.monotonic()
        run(handle)
        if (took := time.monotonic() - began) >= NOTED_SECONDS:
            own = took - (mine.seconds() - waited)
            if own >= NOTED_SECONDS:
                notes.write(f"{began} {own:.4f} {others.seconds() - waited_there:.4f} {_whose(handle)}\n")

    asyncio.Handle._run = timed


class _Queue:
    """Seconds for which threads have waited for a core."""

    def __init__(self, stats: list[str]):
        self._stats = [os.open(stat, os.O_RDONLY) for stat in stats]

    def seconds(self) -> float:
        return sum(map(_waited, self._stats))


class _Others(_Queue):
    """All other threads of this process, those that have begun since the last look left out."""

    def __init__(self):
        super().__init__([])
        self._names, self._looked = {str(threading.get_native_id())}, float("-inf")

    def look(self) -> None:
        if time.monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = time.monotonic()
        new = set(os.listdir("/proc/self/task")) - self._names
        self._names |= new
        self._stats += [os.open(f"/proc/self/task/{name}/schedstat", os.O_RDONLY) for name in new]


def _waited(stat: int) -> float:
    try:
        return int(os.pread(stat, 100, 0).split()[1]) / 1e9
    except ProcessLookupError:  # the thread has ended
        return 0.0


def _whose(handle: asyncio.Handle) -> str:
    task = getattr(handle._callback, "__self__", None)
    return task.get_coro().__qualname__ if isinstance(task, asyncio.Task) else repr(handle._callback)
