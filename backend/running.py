"""The worker and the job that it runs: whose turn it is, how it goes on, and what becomes of it when a worker dies or hangs."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable, Coroutine

import msgspec

from ..shared import messages
from ..shared.errors import BackendError
from ..shared.messages import EngineInfo
from .delivery import Deliveries
from .queue import Queue, Record
from .spool import JobFolder
from .worker_process import WorkerProcess

MAX_ATTEMPTS = 2
SECONDS_TO_CANCEL = 5.0
SECONDS_TO_PROGRESS = 600.0  # then a worker hangs; the variable DAS_HANG_SECONDS sets another bound
SECONDS_TO_START = 60.0
LOADING_TAKES = 3  # times as long
LOADING_PHASES = ("start", "load")
SECONDS_AWAY = 10.0  # between two looks: this machine slept, or the clock jumped
ENDS_WORKER = ("driver",)  # kinds of failures after which the process can do nothing more

log = logging.getLogger(__name__)

Order = Callable[[bytes, messages.Message], Awaitable[None]]
End = messages.Done | messages.Failed | messages.Cancelled


class Change(msgspec.Struct, frozen=True):
    """A job's change of state that is to be written, and what its client is told then."""

    job: str
    state: messages.JobState
    end: End | None = None
    note: str = ""


class Running:
    """Runs the queue's jobs one by one. ``order`` speaks to a worker.

    A job whose worker dies or hangs is tried once more, and then fails. A change of state that the disk does not take is tried
    again at each :meth:`tick`, and nothing new is begun before it is written.
    """

    def __init__(
        self,
        queue: Queue,
        folder_of: Callable[[str], JobFolder],
        deliveries: Deliveries,
        order: Order,
        start_worker: Callable[[], WorkerProcess],
        clock: Callable[[], float] = time.monotonic,
    ):
        self.engines: list[EngineInfo] = []
        self.worker: WorkerProcess | None = None
        self.known = asyncio.Event()  # the first worker is ready, or will never be
        self.progress: dict[str, messages.Progress] = {}
        self._queue = queue
        self._folder_of = folder_of
        self._deliveries = deliveries
        self._order = order
        self._start = start_worker
        self._clock = clock
        self._looked = clock()
        self._hang_seconds = float(os.environ.get("DAS_HANG_SECONDS", SECONDS_TO_PROGRESS))
        self._wanting_memory: list[bytes] = []  # clients that wait for the worker to give it back
        self._unwritten: list[Change] = []
        self._failed_starts = 0
        self._tasks: set[asyncio.Task] = set()
        self._stopping = False

    # ---- the worker

    def start_worker(self) -> None:
        self.worker = self._start()
        self.worker.heard = self._clock()
        self._spawn(self._watch(self.worker))

    async def hear(self, name: bytes, message: messages.Message) -> None:
        """A worker's message; that of one which has been given up is not heeded."""
        worker = self.worker
        if worker is None or worker.name != name:
            return
        worker.heard = self._clock()
        match message:
            case messages.Ready():
                self.engines, worker.ready, self._failed_starts = message.engines, True, 0
                self.known.set()
                log.info("worker %d is ready", message.pid)
                await self.run_next()
            case messages.Progress():
                self.progress[message.job] = message
                await self._deliveries.tell(message)
            case messages.Preview():
                await self._deliveries.tell(message)
            case messages.Frame() | messages.Signal():
                if delivery := self._deliveries.get(message.job):
                    await delivery.add([message.index])
            case messages.MemoryReleased():
                await self._memory_released()
            case messages.Done() | messages.Failed() | messages.Cancelled() if worker.job == message.job:
                await self._ended(worker, message)

    async def _ended(self, worker: WorkerProcess, end: End) -> None:
        worker.job = worker.cancel_by = None
        if isinstance(end, messages.Failed) and end.kind in ENDS_WORKER:
            self._end_worker(worker, "can do nothing more")
        await self.finish(end)
        await self.run_next()

    async def cancel(self, job: str) -> None:
        """Ask the worker to stop the job that runs."""
        worker = self.worker
        if worker and worker.job == job and worker.cancel_by is None:
            worker.cancel_by = self._clock() + SECONDS_TO_CANCEL
            await self._order(worker.name, messages.Stop(job=job))

    async def release_memory(self, client: bytes) -> messages.MemoryReleased | None:
        """Let the worker give back what it keeps. None where the client is told once it has."""
        if self.worker is None or not self.worker.ready:
            return messages.MemoryReleased()
        if self.worker.job:
            return messages.MemoryReleased(released=False)
        self._wanting_memory.append(client)
        await self._order(self.worker.name, messages.ReleaseMemory())
        return None

    async def _memory_released(self) -> None:
        wanting, self._wanting_memory = self._wanting_memory, []
        for client in wanting:
            await self._deliveries.send(client, messages.MemoryReleased())

    async def _watch(self, worker: WorkerProcess) -> None:
        await self._gone(worker, await worker.ended())

    async def _gone(self, worker: WorkerProcess, how: str) -> None:
        """A worker is no more: its job is tried again or ends, and another worker takes its place."""
        if self._stopping or worker is not self.worker:
            return
        how = worker.ending or f"ended {how}"
        log.error("the worker %s %s", worker.pid, how)
        self.worker = None
        self.known.set()
        await self._memory_released()  # all that it had
        if worker.job:
            if delivery := self._deliveries.get(worker.job):  # of its last frames it may not have said that they are made
                await delivery.add(self._folder_of(worker.job).frame_indices())
            await self._settle(self._after_loss(worker, how))
        elif not worker.ready:
            await self._did_not_start(how)
        # Meanwhile another task may have started the next worker, or all may have been told to stop.
        if self.worker is None and not self._stopping and (worker.ready or self._queue.next()):
            self.start_worker()

    async def _did_not_start(self, how: str) -> None:
        """Every second start in a row that fails ends a job, so that it is not tried for ever."""
        self._failed_starts += 1
        waiting = self._queue.next()
        if waiting and self._failed_starts % MAX_ATTEMPTS == 0:
            await self.finish(_not_started(waiting.id, how))

    def _after_loss(self, worker: WorkerProcess, how: str) -> Change:
        record = self._queue.get(worker.job)
        sentence = f"The worker process {how} in the middle of attempt {record.attempts}"
        if worker.cancel_by is not None:
            return Change(record.id, "cancelled", messages.Cancelled(job=record.id))
        if record.attempts < MAX_ATTEMPTS:
            return Change(record.id, "queued", note=f"{sentence}, and the job was tried again.")
        kind = "hung" if worker.hung else "worker_died"
        fix = "See logs/backend.log in the DAS_HOME folder; if the memory did not suffice, choose fewer frames or a smaller size."
        failure = messages.Failed(job=record.id, kind=kind, message=f"{sentence}, the last.", fix=fix, action="resume_take")
        return Change(record.id, "failed", failure)

    def _look_after(self, worker: WorkerProcess) -> None:
        """End a worker that does not heed a cancel, or has made no progress for too long."""
        now, before = self._clock(), self._looked
        self._looked = now
        if now - before > SECONDS_AWAY:
            worker.heard += now - before
        bound = self._bound(worker)
        if worker.ending:
            return
        if worker.cancel_by is not None and now > worker.cancel_by:
            self._end_worker(worker, "did not heed a cancel and was ended")
        elif (worker.job or not worker.ready) and now - worker.heard > bound:
            worker.hung = True
            self._end_worker(worker, f"made no progress for {bound:.0f} s and was ended")

    def _bound(self, worker: WorkerProcess) -> float:
        """How long a worker may say nothing, in seconds."""
        if not worker.ready:
            return max(SECONDS_TO_START, LOADING_TAKES * self._hang_seconds)
        progress = self.progress.get(worker.job)
        loading = progress is None or progress.phase in LOADING_PHASES
        return self._hang_seconds * (LOADING_TAKES if loading else 1)

    def _end_worker(self, worker: WorkerProcess, why: str) -> None:
        log.warning("worker %s %s", worker.pid, why)
        worker.ending = why
        self._spawn(self._stop(worker))

    async def _stop(self, worker: WorkerProcess) -> None:
        if not await worker.stop():  # it waits in the kernel, as with a broken driver: nobody else shall wait for it
            await self._gone(worker, "")

    def _spawn(self, work: Coroutine) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._spawned_ended)

    def _spawned_ended(self, task: asyncio.Task) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception():
            log.error("looking after a worker failed", exc_info=task.exception())

    # ---- the jobs

    def recover(self) -> None:
        """After a start: what ran goes back into the queue, or fails where it has been tried often enough."""
        for record in self._queue.in_state("running"):
            sentence = f"The backend ended in the middle of attempt {record.attempts}"
            if record.attempts < MAX_ATTEMPTS:
                self._queue.set_state(record.id, "queued", note=f"{sentence}, and the job was tried again.")
                continue
            fix = "See logs/backend.log in the DAS_HOME folder, and try again."
            failure = messages.Failed(
                job=record.id, kind="backend_died", message=f"{sentence}, the last.", fix=fix, action="resume_take"
            )
            self._queue.set_state(record.id, "failed", failure=failure)

    async def run_next(self) -> None:
        """Give the worker the job whose turn it is, if it has none."""
        if self._stopping or self._unwritten:
            return
        record = self._queue.next()
        if record and self.worker is None:
            self.start_worker()
        elif record and self.worker.idle:
            await self._begin(self.worker, record)

    async def _begin(self, worker: WorkerProcess, record: Record) -> None:
        try:
            self._queue.set_state(record.id, "running")
        except BackendError as error:  # the next tick tries again
            log.error("%s", error)
            return
        worker.job, worker.heard = record.id, self._clock()
        folder = self._folder_of(record.id)
        have = self._what_is_made(record, folder)
        work = messages.Work(job=record.id, request=record.request, folder=str(folder.folder), work=record.work, have=have)
        await self._order(worker.name, work)

    def _what_is_made(self, record: Record, folder: JobFolder) -> list[int]:
        """The frames of an attempt before, if the engine goes on from them; otherwise they are dropped."""
        if self.resumes(record):
            return sorted({*folder.frame_indices(), *folder.received_indices()})
        folder.drop_frames()
        if delivery := self._deliveries.get(record.id):
            delivery.restart()
        return []

    def resumes(self, record: Record) -> bool:
        """Whether a job's next attempt leaves out what was made by an earlier one."""
        engine = next((entry for entry in self.engines if entry.name == record.request.engine), None)
        return record.work == "generate" and engine is not None and engine.resumes

    async def finish(self, end: End) -> None:
        """A job has ended."""
        await self._settle(Change(end.job, end.__struct_config__.tag, end))

    async def _settle(self, change: Change) -> None:
        """Write a change of state, and tell it once it is on the disk."""
        end = change.end
        if any(change.job == each.job for each in self._unwritten):
            return  # it has ended already
        if isinstance(end, messages.Done):
            end = msgspec.structs.replace(end, notes=[*self._queue.get(change.job).notes, *end.notes])
        failure, result = (end if isinstance(end, kind) else None for kind in (messages.Failed, messages.Done))
        try:
            self._queue.set_state(change.job, change.state, failure=failure, result=result, note=change.note)
        except BackendError as error:
            log.error("%s", error)
            self._unwritten.append(change)
            return
        self.progress.pop(change.job, None)
        if result:
            await asyncio.to_thread(self._folder_of(change.job).drop_signals)
        if end and (delivery := self._deliveries.get(change.job)):
            await delivery.end(end)
            await self.tidy(change.job)

    async def tidy(self, job: str) -> None:
        """Drop the folder of a done job that its client has wholly."""
        record, delivery, folder = self._queue.get(job), self._deliveries.get(job), self._folder_of(job)
        if record and record.state == "done" and delivery and delivery.ended and not folder.frame_indices():
            self._deliveries.close(job)
            await asyncio.to_thread(folder.drop)

    async def tick(self) -> None:
        """What time brings: called twice a second."""
        if self.worker:
            self._look_after(self.worker)
        await self._write_again()
        await self.run_next()

    async def _write_again(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        for change in unwritten:
            await self._settle(change)

    async def stop(self) -> None:
        """End the worker; what ran goes back into the queue, and that attempt does not count."""
        self._stopping = True
        if self.worker:
            await self.worker.stop()
        await self._write_again()
        for record in self._queue.in_state("running"):
            try:
                self._queue.set_state(record.id, "queued", attempts=record.attempts - 1)
            except BackendError as error:  # the next start finds it running, and begins it again
                log.error("%s", error)


def _not_started(job: str, how: str) -> messages.Failed:
    return messages.Failed(
        job=job,
        kind="worker_died",
        message=f"The worker process {how} as it started.",
        fix="See logs/backend.log in the DAS_HOME folder, and try again.",
    )
