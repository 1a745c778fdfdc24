"""All workers: one a device, started, watched, ended and replaced. What becomes of their jobs is running.py's."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine

from ..shared import messages
from ..shared.errors import BackendError
from ..shared.messages import EngineInfo, WorkerInfo
from .worker_line import Hear, Site, Slot, WorkerLine

SECONDS_TO_CANCEL = 5.0
SECONDS_TO_PROGRESS = 600.0  # then a worker hangs; the variable DAS_HANG_SECONDS sets another bound
SECONDS_TO_START = 60.0
SECONDS_OUT_OF_USE = 60.0  # of a device whose workers do not start, while others do
LOADING_TAKES = 3  # times as long
LOADING_PHASES = ("start", "load")
SECONDS_AWAY = 10.0  # between two looks: this machine slept, or the clock jumped
STARTS = 2  # that fail in a row before a device is given up, or a job is ended

log = logging.getLogger(__name__)


class Workers:
    """The workers of a site. ``hear`` gets what they say, ``lost`` is told of each that is no more, and how; ``phase_of`` says where a job stands."""

    def __init__(
        self,
        site: Site,
        hear: Hear,
        lost: Callable[[Slot, WorkerLine, str], Awaitable[None]],
        phase_of: Callable[[str], str | None],
        clock: Callable[[], float] = time.monotonic,
    ):
        self.known = asyncio.Event()  # a worker is ready, or none will ever be
        self.slots: list[Slot] = []
        self._site = site
        self._hear = hear
        self._lost = lost
        self._phase_of = phase_of
        self._clock = clock
        self._looked = clock()
        self._hang_seconds = float(os.environ.get("DAS_HANG_SECONDS", SECONDS_TO_PROGRESS))
        self._tasks: set[asyncio.Task] = set()
        self._stopping = False
        self._looking: asyncio.Task | None = None

    # ---- who there is

    @property
    def engines(self) -> list[EngineInfo]:
        """Every engine once: as it is on a device that can use it, if there is one."""
        told: dict[str, EngineInfo] = {}
        for info in (info for slot in self.slots for info in slot.engines):
            if info.name not in told or (info.available and not told[info.name].available):
                told[info.name] = info
        return list(told.values())

    @property
    def site_lost(self) -> BackendError | None:
        """Why there can be no worker for now, if so."""
        return self._site.lost

    @property
    def infos(self) -> list[WorkerInfo]:
        return [_info(slot) for slot in self.slots]

    def slot(self, name: bytes) -> Slot | None:
        """That of a worker by its name, if it has not been given up."""
        return next((slot for slot in self.slots if slot.worker and slot.worker.name == name), None)

    def of_job(self, job: str) -> WorkerLine | None:
        return next((slot.worker for slot in self.slots if slot.worker and slot.worker.job == job), None)

    def is_idle(self) -> bool:
        return any(slot.worker and slot.worker.idle for slot in self.slots)

    # ---- start and end

    def start(self) -> None:
        """A worker for each device that has none."""
        self._fit()
        for slot in self.slots:
            if slot.worker is None and self._clock() >= slot.not_before and not self._stopping:
                self._start(slot)

    def _start(self, slot: Slot) -> None:
        worker = slot.worker = self._site.start(slot.device, self._hear)
        worker.heard = self._clock()
        self._spawn(self._watch(slot, worker))

    def _fit(self) -> None:
        """Devices may have come, or gone with their workers."""
        devices, known = self._site.devices(), {slot.device for slot in self.slots}
        self.slots = [slot for slot in self.slots if slot.worker or slot.device in devices]
        self.slots += [Slot(device) for device in devices if device not in known]

    async def _watch(self, slot: Slot, worker: WorkerLine) -> None:
        await self._gone(slot, worker, await worker.ended())

    async def _gone(self, slot: Slot, worker: WorkerLine, how: str) -> None:
        """A worker is no more, and another takes its place if it had ever begun to work or there is work."""
        if self._stopping or slot.worker is not worker:
            return
        how = worker.ending or f"ended {how}"
        log.error("the worker %s on %s %s", worker.pid, slot.place, how)
        slot.worker = None
        if not any(other.worker and not other.worker.ready for other in self.slots):
            self.known.set()
        if not worker.ready:
            slot.failed_starts += 1
        await self._lost(slot, worker, how)
        # Meanwhile another task may have started the next worker, or all may have been told to stop.
        self._fit()
        if slot.worker is None and slot in self.slots and worker.ready and not self._stopping:
            self._start(slot)

    def does_not_start(self, slot: Slot) -> bool:
        """Whether a job shall be ended after a start that failed: each second one in a row, if no other device has a worker."""
        if slot.failed_starts % STARTS:
            return False
        if not any(other.worker for other in self.slots):
            return True
        slot.not_before = self._clock() + SECONDS_OUT_OF_USE
        log.error("%s is left alone for %.0f s: its workers do not start", slot.place, SECONDS_OUT_OF_USE)
        return False

    def end(self, worker: WorkerLine, why: str) -> None:
        log.warning("worker %s %s", worker.pid, why)
        worker.ending = why
        self._spawn(self._stop(worker))

    async def _stop(self, worker: WorkerLine) -> None:
        slot = self.slot(worker.name)
        if not await worker.stop() and slot:  # it waits in the kernel, as with a broken driver: nobody else shall wait for it
            await self._gone(slot, worker, "")

    async def stop(self) -> None:
        """End all."""
        self._stopping = True
        await asyncio.gather(*(slot.worker.stop() for slot in self.slots if slot.worker))
        await self._site.close()

    def _spawn(self, work: Coroutine) -> asyncio.Task:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)
        return task

    def _spawned_ended(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("looking after a worker failed", exc_info=task.exception())

    # ---- what they are told and say

    def ready(self, slot: Slot, message: messages.Ready) -> None:
        slot.engines, slot.worker.ready, slot.failed_starts = message.engines, True, 0
        slot.place, slot.memory = message.place or slot.place, message.memory or slot.memory
        self.known.set()
        log.info("worker %d is ready on %s", message.pid, slot.place)

    async def cancel(self, job: str) -> None:
        """Ask the worker that runs a job to stop it."""
        worker = self.of_job(job)
        if worker and worker.cancel_by is None:
            worker.cancel_by = self._clock() + SECONDS_TO_CANCEL
            await worker.order(messages.Stop(job=job))

    async def release_memory(self) -> bool:
        """Let those that do nothing give back what they keep; whether nobody works, so that :attr:`releasing` is worth waiting for."""
        for slot in self.slots:
            if (worker := slot.worker) and worker.idle and not worker.releasing:
                worker.releasing, worker.loaded = True, ""
                await worker.order(messages.ReleaseMemory())
        return not any(slot.worker and slot.worker.job for slot in self.slots)

    @property
    def releasing(self) -> bool:
        """A worker that was asked for its memory has not yet given it back."""
        return any(slot.worker and slot.worker.releasing for slot in self.slots)

    # ---- time

    def look_after(self) -> None:
        """End workers that do not heed a cancel, or have made no progress for too long. Called twice a second."""
        now, before = self._clock(), self._looked
        self._looked = now
        for worker in [slot.worker for slot in self.slots if slot.worker]:
            if now - before > SECONDS_AWAY:
                worker.heard += now - before
            self._look_after(worker, now)
        if self._looking is None or self._looking.done():
            self._looking = self._spawn(self._look())

    async def _look(self) -> None:
        free = await self._site.look()
        for slot in self.slots:
            slot.free = free.get(slot.device, slot.free)

    def _look_after(self, worker: WorkerLine, now: float) -> None:
        bound = self._bound(worker)
        if worker.ending:
            return
        if worker.cancel_by is not None and now > worker.cancel_by:
            self.end(worker, "did not heed a cancel and was ended")
        elif (worker.job or not worker.ready) and now - worker.heard > bound:
            worker.hung = True
            self.end(worker, f"made no progress for {bound:.0f} s and was ended")

    def _bound(self, worker: WorkerLine) -> float:
        """How long a worker may say nothing, in seconds."""
        if not worker.ready:
            return max(SECONDS_TO_START, LOADING_TAKES * self._hang_seconds)
        phase = self._phase_of(worker.job)
        return self._hang_seconds * (LOADING_TAKES if phase is None or phase in LOADING_PHASES else 1)


def _info(slot: Slot) -> WorkerInfo:
    worker = slot.worker
    state = "gone" if worker is None else "starting" if not worker.ready else "working" if worker.job else "idle"
    job = worker.job if worker and worker.job else ""
    return WorkerInfo(device=slot.place, state=state, job=job, memory=slot.memory, free=slot.free)
