"""What clients ask of jobs: taken in, cancelled, moved, tried again, delivered. running.py runs them."""

from __future__ import annotations

import asyncio
import errno
from pathlib import Path
from weakref import WeakValueDictionary

from ..shared import messages
from ..shared.errors import BackendError, UsageError
from .delivery import Deliveries, Send
from .intake import check_submit
from .limits import MAX_WAITING, MAX_WAITING_OF_ONE
from .queue import Queue, Record, info
from .running import Running
from .spool import JobFolder
from .worker_line import Site


class Jobs:
    """All jobs. ``send`` speaks to a client, ``site`` is where workers are.

    Methods that a client asks for return the reply, or raise a DasError that becomes its Refused.
    """

    def __init__(self, queue: Queue, spool: Path, send: Send, site: Site):
        self.deliveries = Deliveries(send, self._folder)
        self.running = Running(queue, self._folder, self.deliveries, site)
        self._queue = queue
        self._spool = spool
        self._arriving: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()  # jobs that are being spooled

    # ---- from clients

    async def submit(self, submit: messages.Submit, client: bytes, name: str, owner: str) -> messages.Accepted:
        """Spool and queue a job. The same job sent again is accepted again, so a lost answer costs nothing."""
        async with self._arriving.setdefault(submit.job, asyncio.Lock()):  # two clients may bring the same job at once
            if self._queue.get(submit.job) is None:
                await self._take_in(submit, name, owner)
                self.deliveries.open(submit.job, client)
            else:
                await self.attach(submit.job, client, [])
        return messages.Accepted(job=submit.job, position=self._queue.place(submit.job))

    def judge(self, submit: messages.Submit, owner: str) -> None:
        """A DasError where a new job cannot be taken. The arrays' types and shapes suffice (:func:`wire.outline`)."""
        if self._queue.get(submit.job) is not None:
            return
        workers = self.running.workers
        if not any(slot.worker for slot in workers.slots):
            workers.start()
        if not workers.engines:
            raise workers.site_lost or BackendError("The backend's worker does not start.", "See logs/backend.log in the DAS_HOME folder.")
        check_submit(submit, workers.engines)
        for whose, most in ((None, MAX_WAITING), (owner, MAX_WAITING_OF_ONE)):
            if (count := len(self._queue.waiting(whose))) >= most:
                raise BackendError(f"{count} jobs are waiting already.", "Wait for some to end, or cancel some.")

    async def _take_in(self, submit: messages.Submit, name: str, owner: str) -> None:
        self.judge(submit, owner)
        folder = self._folder(submit.job)
        try:
            await asyncio.to_thread(folder.write_signals, submit.signals)
            self._queue.add(submit.job, submit.request, submit.title, name, submit.work, owner)
        except OSError as error:
            folder.drop()
            raise _spool_error(error) from error
        except BackendError:
            folder.drop()
            raise

    async def cancel(self, job: str, client: bytes) -> None:
        """Stop a job; that one has ended already is told again to who asks."""
        record = self._known(job)
        if record.state == "queued":
            await self.running.finish(messages.Cancelled(job=job))
        elif record.state == "running":
            await self.running.cancel(job)
        elif (delivery := self.deliveries.get(job)) is None or delivery.ended:
            await self.deliveries.send(client, _ending(record))

    def status(self, job: str) -> messages.Job:
        record = self._known(job)
        return messages.Job(info=info(record, self._queue.place(job), self.running.progress.get(job)))

    def list(self) -> messages.Jobs:
        return messages.Jobs(jobs=self._queue.infos(self.running.progress))

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
        self._queue.set_state(job, "queued", attempts=0)
        before = self.deliveries.get(job)
        self.deliveries.open(job, client, before.received if before and before.client == client else ())
        return messages.Accepted(job=job, position=self._queue.place(job))

    async def attach(self, job: str, client: bytes, have: list[int]) -> messages.Job:
        """This client is the one that writes the take from now on; :meth:`deliver` sends what it lacks."""
        record = self._known(job)
        folder = self._folder(job)
        there, received = folder.frame_indices(), folder.received_indices()
        if record.state == "done" and set(range(record.results)) - set(have) - set(there):
            raise UsageError("The job's frames are no longer kept.", "Generate from the take again.")
        before = self.deliveries.get(job)
        if before and before.client != client and not before.ended:
            await self.deliveries.send(before.client, _taken_over(job))
        if self.running.resumes(record):
            folder.lose_frames(set(received) - set(have) if record.state == "queued" else ())
        else:  # a frame of an attempt before does not count
            have = set(have) & set(received)
        self.deliveries.open(job, client, have)
        return self.status(job)

    async def deliver(self, job: str) -> None:
        """Send what lies in the spool, and how the job ended if it has."""
        record, delivery = self._known(job), self.deliveries.get(job)
        if delivery is None:
            return  # the client has gone meanwhile
        await delivery.add(self._folder(job).frame_indices())
        if record.is_final:
            await delivery.end(_ending(record))
        await self.running.tidy(job)

    async def received(self, job: str, index: int, client: bytes) -> None:
        """A frame is safe with the client that the job is delivered to."""
        await self.deliveries.acknowledge(job, client, index)
        await self.running.tidy(job)

    def _known(self, job: str) -> Record:
        record = self._queue.get(job)
        if record is None:
            raise UsageError(f"The backend knows no job {job}.", "Generate from the take again.")
        return record

    def _folder(self, job: str) -> JobFolder:
        return JobFolder(self._spool / job)


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
