"""A disk that is full, at every single write of a job: it fails with its fix or is done, and the next one runs.

Once with errors put in at the file layer, at the first write, the second, and so on, of the server and of the
worker; once on a small file system of real memory with ever more room left, where this user may mount one.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from diffusion_as_shader.shared import client, messages
from diffusion_as_shader.shared.errors import DasError, UsageError

from . import faults
from .backend import Backend
from .options import Broken, Options, hold
from .processes import files_below, until
from .talk import ending, follow, is_right, make_request, submit

SECONDS_TO_DROP = 5.0
SECONDS_FULL = 1.0  # how long a disk that stays full does so
CLONE_NEWNS = 0x00020000
VOLUME_BYTES = 128 << 20  # for the signals of failed jobs, which are kept
STEP_BYTES = 16 << 10
ROOM_BYTES = 1 << 20  # from here on a job fits
LEAST_WRITES = 5
WRITES = {"mkdir", "rename", "replace", "fsync", "array", "sqlite INSERT", "sqlite UPDATE"}
KINDS = ("disk_full", "backend")


def run(options: Options, folder: Path) -> Iterator[str]:
    """Every write, then every room."""
    yield from sweep_writes(folder / "injected", options)
    unmet = WRITES - set(faults.met(folder / "injected").values())
    hold([(not unmet, f"The backend writes in a way that is not looked at any more: no fault met {', '.join(sorted(unmet))}.")])
    yield from sweep_rooms(folder / "volume", options)


def sweep_writes(folder: Path, options: Options, every: int = 1) -> Iterator[str]:
    """A job for each write of server and worker (each ``every``-th), failing once, or until a second has passed."""
    folder.mkdir()
    with Backend(folder, **faults.variables()) as backend, backend.connect() as peer:
        trial = Trial(backend, peer, options)
        trial.plain("at first")
        for where in ("server", "worker"):
            number = 1
            while trial.full_at(faults.Fault(name=f"{where}-{number}-once", where=where, number=number)):
                trial.full_at(faults.Fault(name=f"{where}-{number}-on", where=where, number=number, stays=True))
                number += every
            assert number > LEAST_WRITES, f"only {number - 1} writes of the {where} were counted"
            yield f"{number - 1} writes of the {where} in a job, each failing once and staying full: {trial.told()}"
    trial.hold()


def sweep_rooms(folder: Path, options: Options, step: int = STEP_BYTES) -> Iterator[str]:
    """Jobs on a file system with more room each time, in a mount namespace that ends with this process."""
    folder.mkdir()
    if not mount_memory(folder, VOLUME_BYTES):
        yield "no small file system could be mounted here, so only errors that were put in were met"
        return
    ballast, made = folder / "ballast", str(folder.parent / "made.txt")
    with Backend(folder, SOAK_MADE=made) as backend, backend.connect() as peer:
        trial = Trial(backend, peer, options, width=128, height=96)
        trial.plain("at first")
        for room in range(0, ROOM_BYTES, step):
            fill(ballast, room)
            trial.until_freed(f"room-{room}", lambda: ballast.unlink())
        free = shutil.disk_usage(folder).free
    yield f"{ROOM_BYTES // step} jobs with 0 to {(ROOM_BYTES - step) >> 10} KB of room: {trial.told()}; {free >> 10} KB free at the end"
    trial.hold()


class Trial:
    """Jobs on a disk that is full for a while. ``hold`` raises what was broken."""

    def __init__(self, backend: Backend, peer: client.Client, options: Options, **size: int):
        self._backend, self._peer, self._options = backend, peer, options
        self._size = size
        self._ends: Counter[str] = Counter()
        self._broken: list[str] = []
        self._seed = options.seed

    def plain(self, when: str) -> None:
        """A job on a disk with room is done."""
        request = self._request()
        job = submit(self._peer, request)
        seen = follow(self._peer, job, self._options.seconds)
        if not is_right(seen, request):
            self._broken.append(f"A job {when} was not done: {ending(seen) or 'no end'}.")
        elif not self._is_gone(self._backend.folder / "spool" / job):  # and so nothing of it is counted as the next one's
            self._broken.append(f"A job {when} leaves files.")

    def full_at(self, fault: faults.Fault) -> bool:
        """A job with a fault, and one after it; whether the fault was met."""
        home = self._backend.folder
        faults.order(home, fault)
        self.until_freed(fault.name, lambda: faults.order(home, None), wait=SECONDS_FULL if fault.stays else None)
        what = faults.met(home).get(fault.name)
        return what is not None

    def until_freed(self, name: str, free, wait: float | None = SECONDS_FULL) -> None:
        """A job on a disk that is full until ``free()`` is called, after ``wait`` seconds or at the job's end."""
        request, what = self._request(), f"with {name}"
        job = submit(self._peer, request)
        seen = follow(self._peer, job, wait or self._options.seconds)
        free()
        if ending(seen) is None and wait:
            seen += follow(self._peer, job, self._options.seconds)
        self._judge(job, seen, request, what)
        self.plain(f"after one {what}")

    def _judge(self, job: str, seen: list, request, what: str) -> None:
        end = ending(seen)
        kind = getattr(end, "kind", None) or ("done" if isinstance(end, messages.Done) else type(end).__name__)
        self._ends[kind] += 1
        if self._backend.process.poll() is not None:
            raise Broken([*self._broken, f"A job {what} ended the server:\n{self._backend.output()[-2000:]}"])
        if end is None:
            self._broken.append(f"A job {what} has no end; the queue says {self._state(job)}.")
        elif isinstance(end, messages.Done):
            if not is_right(seen, request):
                self._broken.append(f"A job {what} is done with wrong frames.")
        elif kind not in KINDS or not end.fix:
            self._broken.append(f"A job {what} ended with {end}.")
        self._check_queue(job, end, what)

    def _check_queue(self, job: str, end: messages.Message | None, what: str) -> None:
        accepted = self._state(job)
        told = {messages.Done: "done", messages.Failed: "failed"}.get(type(end))
        refused = accepted == "unknown" and told == "failed"
        if end is not None and accepted != told and not refused:
            self._broken.append(f"A job {what} was told to be {told} and is {accepted} in the queue.")
        if (refused or told == "done") and not self._is_gone(self._backend.folder / "spool" / job):
            self._broken.append(f"A job {what} that is {told} leaves files.")

    def _is_gone(self, folder: Path) -> bool:
        end = time.monotonic() + SECONDS_TO_DROP
        while (left := files_below(folder)) and time.monotonic() < end:
            time.sleep(0.01)
        return not left

    def _state(self, job: str) -> str:
        try:
            return self._peer.status(job).state
        except UsageError:
            return "unknown"
        except DasError as error:
            return f"not told ({error})"

    def _request(self):
        self._seed += 1
        return make_request(seed=self._seed, **self._size)

    def told(self) -> str:
        """How jobs ended since the last call."""
        ends, self._ends = self._ends, Counter()
        return ", ".join(f"{count} {kind}" for kind, count in ends.most_common())

    def hold(self) -> None:
        if self._broken:
            raise Broken(self._broken)


def mount_memory(folder: Path, size: int) -> bool:
    """Mount a file system of ``size`` bytes on a folder, seen by this process and its children only; whether it could be."""
    if not sys.platform.startswith("linux") or ctypes.CDLL(None).unshare(CLONE_NEWNS) != 0:
        return False
    steps = (["mount", "--make-rprivate", "/"], ["mount", "-t", "tmpfs", "-o", f"size={size}", "soak", str(folder)])
    return all(subprocess.run(step, capture_output=True).returncode == 0 for step in steps)


def fill(ballast: Path, room: int) -> None:
    """Let so many bytes be free."""
    until(lambda: not ballast.exists(), 1, "the ballast is gone")
    size = shutil.disk_usage(ballast.parent).free - room
    with ballast.open("wb") as stream:
        stream.write(bytes(max(0, size)))
