"""The jobs that run: whose turn it is and on which device, how they go on, and what becomes of one whose worker dies or hangs."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable

import msgspec

from ..shared import messages
from ..shared.errors import BackendError
from .delivery import Deliveries
from .queue import Queue, Record
from .spool import JobFolder
from .worker_line import Site, Slot, WorkerLine
from .workers import Workers

MAX_ATTEMPTS = 2
ENDS_WORKER = ("driver",)  # kinds of failures after which the process can do nothing more

log = logging.getLogger(__name__)

End = messages.Done | messages.Failed | messages.Cancelled


class Change(msgspec.Struct, frozen=True):
    """A job's change of state that is to be written, and what its client is told then."""

    job: str
    state: messages.JobState
    end: End | None = None
    note: str = ""
    again: bool = False  # as if it had not been begun


class Running:
    """Runs the queue's jobs, one on each device of ``site``.

    A job whose worker dies or hangs is tried once more, and then fails; one that lacks memory goes to a device that has more.
    A change of state that the disk does not take is tried again at each :meth:`tick`, and nothing new is begun before it is written.
    """

    def __init__(
        self,
        queue: Queue,
        folder_of: Callable[[str], JobFolder],
        deliveries: Deliveries,
        site: Site,
        clock: Callable[[], float] = time.monotonic,
    ):
        self.workers = Workers(site, self.hear, self._lost, self._phase_of, clock)
        self.progress: dict[str, messages.Progress] = {}
        self._queue = queue
        self._folder_of = folder_of
        self._deliveries = deliveries
        self._clock = clock
        self._wanting_memory: list[bytes] = []  # clients that wait for workers to give it back
        self._too_small: dict[str, int] = {}  # bytes of a card's memory that were not enough for a job
        self._unwritten: list[Change] = []
        self._stopping = False

    # ---- the workers

    async def hear(self, name: bytes, message: messages.Message) -> None:
        """A worker's message; that of one which has been given up is not heeded."""
        slot = self.workers.slot(name)
        if slot is None:
            return
        worker = slot.worker
        worker.heard = self._clock()
        match message:
            case messages.Ready():
                self.workers.ready(slot, message)
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
                worker.releasing = False
                await self._memory_released()
            case messages.Done() | messages.Failed() | messages.Cancelled() if worker.job == message.job:
                await self._ended(slot, message)

    async def _ended(self, slot: Slot, end: End) -> None:
        worker = slot.worker
        worker.job = worker.cancel_by = None
        failed = isinstance(end, messages.Failed)
        if failed and end.kind in ENDS_WORKER:
            self.workers.end(worker, "can do nothing more")
        if failed and end.kind == "out_of_memory" and self._has_more_memory(slot, end.job):
            await self._settle(self._elsewhere(slot, end))
        else:
            await self.finish(end)
        await self.run_next()

    def _has_more_memory(self, slot: Slot, job: str) -> bool:
        """A job that lacked memory here may go to another device. That is known of those alone whose memory is."""
        request = self._queue.get(job).request
        return any(other.memory > slot.memory > 0 and other.serves(request) for other in self.workers.slots)

    def _elsewhere(self, slot: Slot, failed: messages.Failed) -> Change:
        self._too_small[failed.job] = slot.memory
        return Change(failed.job, "queued", note=f"On {slot.place}: {failed.message} The job goes to a card with more memory.", again=True)

    async def cancel(self, job: str) -> None:
        """Ask the worker to stop a job that runs."""
        await self.workers.cancel(job)

    async def release_memory(self, client: bytes) -> messages.MemoryReleased | None:
        """Let workers give back what they keep. None where the client is told once they have."""
        nobody_works = await self.workers.release_memory()
        if not (nobody_works and self.workers.releasing):
            return messages.MemoryReleased(released=nobody_works)
        self._wanting_memory.append(client)
        return None

    async def _memory_released(self) -> None:
        if self.workers.releasing:
            return
        wanting, self._wanting_memory = self._wanting_memory, []
        for client in wanting:
            await self._deliveries.send(client, messages.MemoryReleased())

    async def _lost(self, slot: Slot, worker: WorkerLine, how: str) -> None:
        """A worker is no more: its job is tried again or ends."""
        await self._memory_released()  # all that it had
        if worker.job:
            if delivery := self._deliveries.get(worker.job):  # of its last frames it may not have said that they are made
                await delivery.add(self._folder_of(worker.job).frame_indices())
            await self._settle(self._after_loss(worker, how))
        elif not worker.ready and self.workers.does_not_start(slot) and (waiting := self._queue.next()):
            await self.finish(_not_started(waiting.id, how))
        await self.run_next()

    def _after_loss(self, worker: WorkerLine, how: str) -> Change:
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

    def _phase_of(self, job: str) -> str | None:
        progress = self.progress.get(job)
        return progress.phase if progress else None

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
        """Give idle workers the jobs whose turn it is."""
        while not (self._stopping or self._unwritten) and (pair := self._next()):
            if not await self._begin(*pair):
                return
        if not self._stopping and self._queue.next():
            self.workers.start()

    def _next(self) -> tuple[Slot, Record] | None:
        """The first job in its turn that a worker is there for, and its device."""
        if not self.workers.is_idle():
            return None
        for record in map(self._queue.get, self._queue.waiting()):
            if slot := choose_device(self.workers.slots, record, self._too_small.get(record.id, 0)):
                return slot, record
        return None

    async def _begin(self, slot: Slot, record: Record) -> bool:
        try:
            self._queue.set_state(record.id, "running")
        except BackendError as error:  # the next tick tries again
            log.error("%s", error)
            return False
        worker = slot.worker
        worker.job, worker.heard = record.id, self._clock()
        log.info("job %s begins on worker %s (%s)", record.id, worker.pid, slot.place)
        if record.work == "generate":
            worker.loaded = record.request.engine
        folder = self._folder_of(record.id)
        have = self._what_is_made(record, folder)
        work = messages.Work(job=record.id, request=record.request, folder=str(folder.folder), work=record.work, have=have)
        await worker.order(work)
        return True

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
        engine = next((entry for entry in self.workers.engines if entry.name == record.request.engine), None)
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
            attempts = self._queue.get(change.job).attempts - 1 if change.again else None
            self._queue.set_state(change.job, change.state, failure=failure, result=result, attempts=attempts, note=change.note)
        except BackendError as error:
            log.error("%s", error)
            self._unwritten.append(change)
            return
        self.progress.pop(change.job, None)
        if end:
            self._too_small.pop(change.job, None)
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
        self.workers.look_after()
        await self._write_again()
        await self.run_next()

    async def _write_again(self) -> None:
        unwritten, self._unwritten = self._unwritten, []
        for change in unwritten:
            await self._settle(change)

    async def stop(self) -> None:
        """End the workers; what ran goes back into the queue, and that attempt does not count."""
        self._stopping = True
        await self.workers.stop()
        await self._write_again()
        for record in self._queue.in_state("running"):
            try:
                self._queue.set_state(record.id, "queued", attempts=record.attempts - 1)
            except BackendError as error:  # the next start finds it running, and begins it again
                log.error("%s", error)


def choose_device(slots: list[Slot], record: Record, more_than: int = 0) -> Slot | None:
    """The device for a job, among those with an idle worker that can run it and with ``more_than`` bytes of memory, if that is not 0.

    First one whose worker has the job's engine loaded already, then the one with most free memory.
    """
    request = record.request
    idle = [slot for slot in slots if slot.worker and slot.worker.idle and (not more_than or slot.memory > more_than)]
    if record.work == "generate":
        # Where no device can use the engine any more, one that knows it says why the job fails.
        able = [slot for slot in slots if slot.serves(request)] or [slot for slot in slots if slot.knows(request.engine)]
        idle = [slot for slot in idle if slot in able]
    return max(idle, key=lambda slot: (slot.worker.loaded == request.engine, slot.free), default=None)


def _not_started(job: str, how: str) -> messages.Failed:
    return messages.Failed(
        job=job,
        kind="worker_died",
        message=f"The worker process {how} as it started.",
        fix="See logs/backend.log in the DAS_HOME folder, and try again.",
    )
