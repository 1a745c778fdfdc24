"""What the spool keeps: until it is a week old, and until it is too much. Takes lie elsewhere and are never touched."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

from ..shared.errors import BackendError
from .queue import Queue
from .spool import JobFolder

KEPT_SECONDS = 7 * 24 * 3600.0
LEAP_SECONDS = 3600.0
KEPT_BYTES = 20e9  # of all jobs together; the variable DAS_SPOOL_GB sets another bound
JOB_NAME = re.compile("[0-9a-f]{32}")

log = logging.getLogger(__name__)


class Pruning:
    """Forgets ended jobs, the oldest first, with all that they left. ``in_use`` says of a job that its client is there.

    Once the wall clock has leapt nothing is forgotten for its age until the backend starts anew.
    """

    def __init__(
        self,
        queue: Queue,
        spool: Path,
        in_use: Callable[[str], bool],
        wall: Callable[[], float] = time.time,
        steady: Callable[[], float] = time.monotonic,
    ):
        self._queue = queue
        self._spool = spool
        self._in_use = in_use
        self._wall, self._steady = wall, steady
        self._offset, self._leapt = wall() - steady(), False
        self._bytes = float(os.environ.get("DAS_SPOOL_GB", KEPT_BYTES / 1e9)) * 1e9

    def at_start(self) -> None:
        """Before there are clients: drop what belongs to no job, and what is left of done ones whose frames are all received."""
        states = self._queue.states()
        for folder in self._folders():
            state = states.get(folder.folder.name)
            if state is None or (state == "done" and not folder.frame_indices()):
                folder.drop()

    async def prune(self) -> None:
        """Keep within the bounds of age and size."""
        now = self._wall()
        self._leapt |= abs(now - self._steady() - self._offset) > LEAP_SECONDS
        sizes = await asyncio.to_thread(self._sizes)
        total = sum(sizes.values())
        for job, ended in self._queue.ended():
            if self._in_use(job):
                continue
            if (now - ended > KEPT_SECONDS and not self._leapt) or total > self._bytes:
                total -= sizes.get(job, 0)
                await self._forget(job)
        if total > self._bytes:
            log.warning("the spool holds %.1f GB of jobs that wait, run or are being fetched", total / 1e9)

    async def _forget(self, job: str) -> None:
        await asyncio.to_thread(JobFolder(self._spool / job).drop)  # first: the queue may need the space
        try:
            self._queue.forget(job)
        except BackendError as error:
            log.error("%s", error)

    def _folders(self) -> list[JobFolder]:
        """Those that a job made: nothing else that lies in the spool is ours."""
        return [JobFolder(entry) for entry in self._spool.iterdir() if JOB_NAME.fullmatch(entry.name)]

    def _sizes(self) -> dict[str, int]:
        return {folder.folder.name: folder.size() for folder in self._folders()}
