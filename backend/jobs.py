"""The jobs of the backend: taken in, run one after the other by the worker, delivered to their clients."""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from ..shared import messages
from ..shared.errors import BackendError, UsageError
from ..shared.messages import EngineInfo
from .delivery import Delivery, Send
from .intake import check_submit
from .queue import Queue, Record, info
from .spool import JobFolder
from .worker_process import WorkerProcess

MAX_WAITING = 1000
MAX_ATTEMPTS = 2
SECONDS_TO_CANCEL = 5.0
KEPT_SECONDS = 7 * 24 * 3600.0

log = logging.getLogger(__name__)

Order = Callable[[bytes, messages.Message], Awaitable[None]]


class Jobs:
    """Everything that happens to jobs. ``send`` speaks to a client, ``order`` to a worker.

    Methods that a client asks for return the reply, or raise a DasError that becomes its Refused.
    """

    def __init__(self, queue: Queue, spool: Path, send: Send, order: Order, start_worker: Callable[[], WorkerProcess]):
        self.engines: list[EngineInfo] = []
        self.worker: WorkerProcess | None = None
        self.worker_known = asyncio.Event()  # the first worker is ready, or will never be
        self._queue = queue
        self._spool = spool
        self._send = send
        self._order = order
        self._start = start_worker
        self._progress: dict[str, messages.Progress] = {}
        self._deliveries: dict[str, Delivery] = {}
        self._wanting_memory: list[bytes] = []  # clients that wait for the worker to give it back
        self._watching: set[asyncio.Task] = set()
        self._stopping = False

    # ---- from clients

    async def submit(self, submit: messages.Submit, client: bytes, name: str) -> messages.Accepted:
        """Spool and queue a job. The same job sent again is accepted again, so a lost answer costs nothing."""
        if self._queue.get(submit.job) is None:
            await self._take_in(submit, name)
            self._deliveries[submit.job] = self._delivery(submit.job, client)
        else:
            await self.attach(submit.job, client, [])
        return messages.Accepted(job=submit.job, position=self._queue.place(submit.job))

    async def _take_in(self, submit: messages.Submit, name: str) -> None:
        if self.worker is None:
            self.start_worker()
        if not self.engines:
            raise BackendError("The backend's worker does not start.", "See logs/backend.log in the DAS_HOME folder.")
        check_submit(submit, self.engines)
        if len(self._queue.in_state("queued")) >= MAX_WAITING:
            raise BackendError(f"{MAX_WAITING} jobs are waiting already.", "Wait for some to end, or cancel some.")
        try:
            await asyncio.to_thread(self._folder(submit.job).write_signals, submit.signals)
        except OSError as error:
            self._folder(submit.job).drop()
            raise _spool_error(error) from error
        self._queue.add(submit.job, submit.request, submit.title, name, submit.work)

    async def cancel(self, job: str) -> None:
        """Stop a job; one that has ended already is told so again."""
        record = self._known(job)
        if record.state == "queued":
            await self._finish(job, messages.Cancelled(job=job))
        elif record.state == "running":
            await self._stop_running(job)
        elif delivery := self._deliveries.get(job):
            await delivery.end(_ending(record))

    async def _stop_running(self, job: str) -> None:
        worker = self.worker
        if worker and worker.job == job and worker.cancel_by is None:
            worker.cancel_by = time.monotonic() + SECONDS_TO_CANCEL
            await self._order(worker.name, messages.Stop(job=job))

    def status(self, job: str) -> messages.Job:
        record = self._known(job)
        return messages.Job(info=info(record, self._queue.place(job), self._progress.get(job)))

    def list(self) -> messages.Jobs:
        return messages.Jobs(jobs=self._queue.infos(self._progress))

    def reorder(self, job: str, position: int) -> messages.Jobs:
        if self._known(job).state != "queued":
            raise UsageError("Only a waiting job can be moved.", "Choose one that waits.")
        self._queue.reorder(job, position)
        return self.list()

    async def retry(self, job: str, client: bytes) -> messages.Accepted:
        """Queue a failed or cancelled job again, for this client."""
        record = self._known(job)
        if record.state not in ("failed", "cancelled"):
            raise UsageError(f"A job that is {record.state} cannot be tried again.", "Only failed and cancelled ones can.")
        if not self._folder(job).has_signals():
            raise UsageError("The job's signals are no longer kept.", "Generate from the take again.")
        self._queue.set_state(job, "queued")
        before = self._deliveries.get(job)
        have = before.received if before and before.client == client else ()
        self._deliveries[job] = self._delivery(job, client, have)
        return messages.Accepted(job=job, position=self._queue.place(job))

    async def attach(self, job: str, client: bytes, have: list[int]) -> messages.Job:
        """This client is the one that writes the take from now on; :meth:`deliver` sends what it lacks."""
        record = self._known(job)
        there = self._folder(job).frame_indices()
        if record.state == "done" and set(range(record.results)) - set(have) - set(there):
            raise UsageError("The job's frames are no longer kept.", "Generate from the take again.")
        before = self._deliveries.get(job)
        if before and before.client != client and not before.ended:
            await self._send(before.client, _taken_over(job))
        self._deliveries[job] = self._delivery(job, client, have)
        return self.status(job)

    async def deliver(self, job: str) -> None:
        """Send what lies in the spool, and how the job ended if it has."""
        record, delivery = self._known(job), self._deliveries[job]
        await delivery.add(self._folder(job).frame_indices())
        if record.is_final:
            await delivery.end(_ending(record))
        await self._tidy(job)

    async def received(self, job: str, index: int, client: bytes) -> None:
        """A frame is safe with the client that the job is delivered to."""
        delivery = self._deliveries.get(job)
        if delivery and delivery.client == client:
            await delivery.acknowledge(index)
            await self._tidy(job)

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
            await self._send(client, messages.MemoryReleased())

    def forget_client(self, client: bytes) -> None:
        """Its jobs go on; their frames wait in the spool."""
        self._deliveries = {job: entry for job, entry in self._deliveries.items() if entry.client != client}

    async def pump(self) -> None:
        """Try again what a client's socket did not take."""
        for delivery in list(self._deliveries.values()):
            await delivery.pump()

    # ---- from the worker

    async def hear(self, message: messages.Message) -> None:
        """A worker's message, which has been checked to come from the worker that we have."""
        match message:
            case messages.Ready():
                self.engines, self.worker.ready = message.engines, True
                self.worker_known.set()
                log.info("worker %d is ready", message.pid)
                await self.run_next()
            case messages.Progress():
                self._progress[message.job] = message
                await self._tell(message)
            case messages.Preview():
                await self._tell(message)
            case messages.Frame() | messages.Signal():
                if delivery := self._deliveries.get(message.job):
                    await delivery.add([message.index])
            case messages.MemoryReleased():
                await self._memory_released()
            case messages.Done() | messages.Failed() | messages.Cancelled() if self.worker.job == message.job:
                self.worker.job = self.worker.cancel_by = None
                await self._finish(message.job, message)
                await self.run_next()

    async def _tell(self, message: messages.Message) -> None:
        if delivery := self._deliveries.get(message.job):
            await self._send(delivery.client, message)

    # ---- running

    def recover(self) -> None:
        """After a start: what ran goes back into the queue, or fails where it has been tried often enough."""
        for record in self._queue.in_state("running"):
            if record.attempts >= MAX_ATTEMPTS:
                self._queue.set_state(record.id, "failed", failure=_given_up(record))
            else:
                self._queue.set_state(record.id, "queued")

    def prune(self, now: float) -> None:
        """Forget jobs that ended long ago, and folders that belong to no job."""
        for state in messages.FINAL_STATES:
            for record in self._queue.in_state(state):
                if now - record.updated > KEPT_SECONDS:
                    self._queue.forget(record.id)
        for folder in self._spool.iterdir():
            if folder.is_dir() and self._queue.get(folder.name) is None:
                JobFolder(folder).drop()

    def start_worker(self) -> None:
        self.worker = self._start()
        task = asyncio.create_task(self._watch(self.worker))
        self._watching.add(task)
        task.add_done_callback(self._watched)

    def _watched(self, task: asyncio.Task) -> None:
        self._watching.discard(task)
        if not task.cancelled() and task.exception():
            log.error("watching a worker failed", exc_info=task.exception())

    async def run_next(self) -> None:
        """Give the worker the job whose turn it is, if it has none."""
        if self._stopping:
            return
        record = self._queue.next()
        if record and self.worker is None:
            self.start_worker()
        elif record and self.worker.idle:
            self._queue.set_state(record.id, "running")
            self.worker.job = record.id
            folder = str(self._folder(record.id).folder)
            work = messages.Work(job=record.id, request=record.request, folder=folder, work=record.work)
            await self._order(self.worker.name, work)

    def check_worker(self) -> None:
        """A worker that does not heed a cancel in time is ended."""
        worker = self.worker
        if worker and worker.cancel_by is not None and time.monotonic() > worker.cancel_by:
            log.warning("worker %s does not heed a cancel, killing it", worker.pid)
            worker.kill()

    async def stop(self) -> None:
        """End the worker; what ran goes back into the queue."""
        self._stopping = True
        if self.worker:
            await self.worker.stop()
        for record in self._queue.in_state("running"):
            self._queue.set_state(record.id, "queued")

    async def _watch(self, worker: WorkerProcess) -> None:
        how = await worker.ended()
        if self._stopping:
            return
        log.error("the worker %s ended %s", worker.pid, how)
        self.worker = None
        self.worker_known.set()
        await self._memory_released()  # all that it had
        job = worker.job
        if job is None and not worker.ready and (waiting := self._queue.next()):
            job = waiting.id  # each start that fails ends a job, so it is not tried for ever
        if job:
            cancelled = worker.job and worker.cancel_by is not None
            await self._finish(job, messages.Cancelled(job=job) if cancelled else _worker_died(job, how))
        # While the job was ended, another task may have started the next worker, or all may have been told to stop.
        if self.worker is None and not self._stopping and (worker.ready or self._queue.next()):
            self.start_worker()

    async def _finish(self, job: str, event: messages.Done | messages.Failed | messages.Cancelled) -> None:
        self._progress.pop(job, None)
        match event:
            case messages.Done():
                self._queue.set_state(job, "done", result=event)
                await asyncio.to_thread(self._folder(job).drop_signals)
            case messages.Failed():
                self._queue.set_state(job, "failed", failure=event)
            case messages.Cancelled():
                self._queue.set_state(job, "cancelled")
        if delivery := self._deliveries.get(job):
            await delivery.end(event)
            await self._tidy(job)

    async def _tidy(self, job: str) -> None:
        """Drop the folder of a done job that its client has wholly."""
        record, delivery = self._queue.get(job), self._deliveries.get(job)
        if record and delivery and record.state == "done" and len(delivery.received) >= record.results:
            await asyncio.to_thread(self._folder(job).drop)

    def _known(self, job: str) -> Record:
        record = self._queue.get(job)
        if record is None:
            raise UsageError(f"The backend knows no job {job}.", "Generate from the take again.")
        return record

    def _folder(self, job: str) -> JobFolder:
        return JobFolder(self._spool / job)

    def _delivery(self, job: str, client: bytes, have=()) -> Delivery:
        return Delivery(job, client, self._folder(job), self._send, have)


def _ending(record: Record) -> messages.Message:
    return record.result or record.failure or messages.Cancelled(job=record.id)


def _spool_error(error: OSError) -> BackendError:
    if error.errno == errno.ENOSPC:
        return BackendError("The backend's disk is full.", "Free some space, or move DAS_HOME to another disk.")
    return BackendError(f"The backend cannot write its spool: {error.strerror}.", "Check the DAS_HOME folder.")


def _taken_over(job: str) -> messages.Failed:
    return messages.Failed(
        job=job, kind="taken_over", message="Another client has taken this job over.", fix="See the result there."
    )


def _worker_died(job: str, how: str) -> messages.Failed:
    return messages.Failed(
        job=job,
        kind="worker_died",
        message=f"The worker process ended {how} in the middle of the generation.",
        fix="Try again; if it happens again, see logs/backend.log in the DAS_HOME folder.",
    )


def _given_up(record: Record) -> messages.Failed:
    return messages.Failed(
        job=record.id,
        kind="backend_died",
        message=f"The backend ended {record.attempts} times while it ran this job.",
        fix="See logs/backend.log in the DAS_HOME folder, and try again.",
    )
