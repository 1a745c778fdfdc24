"""Several Blenders beside each other, each making some clips: one that dies or hangs takes no clip of another with it."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from ...shared.dataset import ClipRecord
from ...shared.errors import Cancelled, GenerationError
from ..child_process import FOREIGN, ChildProcess, das_command

SECONDS_WITHOUT_A_SIGN = 3600.0  # a frame of a heavy scene may take long
SECONDS_TO_END = 20.0
SECONDS_BETWEEN_LOOKS = 0.05


class Made(msgspec.Struct, frozen=True):
    """A clip's files are in its staging folder."""

    number: int
    record: ClipRecord


class Failed(msgspec.Struct, frozen=True):
    """A clip could not be made."""

    number: int
    message: str
    fix: str


class Worker:
    """One Blender and the clips that it still has to make."""

    def __init__(self, root: Path, numbers: Sequence[int], command: Sequence[str]):
        self.left = list(numbers)
        self.current: int | None = None
        self.begun = False
        self.said = ""
        self.heard = time.monotonic()
        same_python = {name: os.environ[name] for name in FOREIGN if name in os.environ}
        self._child = ChildProcess([*command, "dataset", "clips", root.resolve(), *map(str, numbers), "--json"], same_python)

    def outcomes(self) -> Iterator[Made | Failed]:
        """What has come of its clips since the last call."""
        ended = self._child.poll()
        for event in self._child.events():
            self.heard = time.monotonic()
            match event:
                case {"event": "begin", "number": number}:
                    self.current, self.begun = number, True
                case {"event": "clip", "number": number, "record": record}:
                    yield self._done(Made(number, msgspec.convert(record, ClipRecord)))
                case {"event": "failed", "number": number, "message": message, "fix": fix}:
                    yield self._done(Failed(number, message, fix))
                case {"event": "error", "kind": GenerationError.kind, "message": message, "fix": fix}:  # the disk, not the clip
                    raise GenerationError(message, f"{fix} The same command goes on with the dataset.")
                case {"event": "error", "message": message} | {"text": message}:
                    self.said = message
        if ended is not None and self.current is not None:
            yield self._done(Failed(self.current, f"Blender ended in it with code {ended}: {self.said or 'it said nothing'}", "See whether it renders in Blender."))
        if time.monotonic() - self.heard > SECONDS_WITHOUT_A_SIGN:
            self.kill()

    def _done(self, outcome: Made | Failed) -> Made | Failed:
        self.current = None
        with suppress(ValueError):
            self.left.remove(outcome.number)
        return outcome

    def left_over(self) -> list[int]:
        """What another Blender has to make, now that this one has ended. GenerationError where it never began."""
        if not self.begun:
            raise GenerationError(f"The Blender that makes clips did not start: {self.said or 'it said nothing'}", "See blender.log with das doctor.")
        return self.left

    @property
    def ended(self) -> bool:
        return self._child.poll() is not None

    def stop(self) -> None:
        """Ask it to drop its clip and end."""
        self._child.close_input()
        self._child.terminate()

    def kill(self) -> None:
        """A process that hangs; its clip has failed then."""
        self._child.kill()

    def close(self) -> None:
        self._child.close()


def make_all(root: Path, numbers: Sequence[int], jobs: int, at_most: int, cancelled: Callable[[], bool]) -> Iterator[Made | Failed]:
    """The outcome of every clip, as they come. Cancelled once all Blenders have ended, where ``cancelled()`` says so."""
    waiting, workers, command = list(numbers), [], das_command()
    try:
        while (waiting or workers) and not cancelled():
            while waiting and len(workers) < jobs:
                share = min(at_most, math.ceil(len(waiting) / (jobs - len(workers))))
                workers.append(Worker(root, waiting[:share], command))
                del waiting[:share]
            for worker in list(workers):
                gone = worker.ended
                yield from worker.outcomes()
                if gone:
                    workers.remove(worker)
                    worker.close()
                    waiting[:0] = worker.left_over()
            time.sleep(SECONDS_BETWEEN_LOOKS)
        if cancelled():
            raise Cancelled("The dataset was cancelled; the same command goes on with it.")
    finally:
        _end(workers)


def _end(workers: list[Worker]) -> None:
    for worker in workers:
        worker.stop()
    deadline = time.monotonic() + SECONDS_TO_END
    while any(not worker.ended for worker in workers) and time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    for worker in workers:
        worker.kill()
        worker.close()
