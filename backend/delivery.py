"""A job's frames on their way from the spool to the one client that writes its take."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable

import numpy as np

from ..shared import messages
from .spool import JobFolder

FRAMES_IN_FLIGHT = 8  # to one client, and one more for each further job of its: what a slow reader costs in memory

log = logging.getLogger(__name__)

Send = Callable[[bytes, messages.Message], Awaitable[bool]]


class Deliveries:
    """The delivery of each job whose client is there."""

    def __init__(self, send: Send, folder_of: Callable[[str], JobFolder]):
        self.send = send
        self._folder_of = folder_of
        self._by_job: dict[str, Delivery] = {}

    def get(self, job: str) -> Delivery | None:
        return self._by_job.get(job)

    def open(self, job: str, client: bytes, have: Iterable[int] = ()) -> None:
        """From now on a job's events go to this client, and of its frames those that it lacks."""
        self.close(job)
        self._by_job[job] = Delivery(job, client, self._folder_of(job), self.send, lambda: self._has_room(client), have)

    async def acknowledge(self, job: str, client: bytes, index: int) -> None:
        """A frame is safe with the client that the job is delivered to; then others may be sent to it."""
        delivery = self._by_job.get(job)
        if delivery and delivery.client == client:
            await delivery.acknowledge(index)
            for each in self._of(client):
                await each.pump()

    def close(self, job: str) -> None:
        """Nothing more goes to the client: it has all that it was to get, or has gone, or another one has come."""
        if delivery := self._by_job.pop(job, None):
            delivery.closed = True

    async def tell(self, message: messages.Message) -> None:
        """Pass an event on, where somebody wants it."""
        if delivery := self._by_job.get(message.job):
            await self.send(delivery.client, message)

    def forget_client(self, client: bytes) -> None:
        """Its jobs go on; their frames wait in the spool."""
        for delivery in self._of(client):
            self.close(delivery.job)

    async def pump(self) -> None:
        """Try again what a client's socket did not take."""
        for delivery in list(self._by_job.values()):
            await delivery.pump()

    def _of(self, client: bytes) -> list[Delivery]:
        return [delivery for delivery in self._by_job.values() if delivery.client == client]

    def _has_room(self, client: bytes) -> bool:
        return sum(delivery.in_flight for delivery in self._of(client)) < FRAMES_IN_FLIGHT


class Delivery:
    """Sends frames in order of their index, a few ahead of what the client has acknowledged, and then the end."""

    def __init__(
        self,
        job: str,
        client: bytes,
        folder: JobFolder,
        send: Send,
        has_room: Callable[[], bool],
        have: Iterable[int] = (),
    ):
        self.job = job
        self.client = client
        self.received = set(have)
        self.ended = self.closed = False
        self._folder = folder
        self._send = send
        self._has_room = has_room
        self._ready: set[int] = set()
        self._in_flight: set[int] = set()
        self._ending: messages.Message | None = None
        self._pumping = asyncio.Lock()

    @property
    def in_flight(self) -> int:
        """Frames that were sent and not acknowledged; those of a job that has ended may never be."""
        return 0 if self.ended else len(self._in_flight)

    async def add(self, indices: Iterable[int]) -> None:
        """These frames lie in the spool."""
        self._ready.update(indices)
        await self.pump()

    async def acknowledge(self, index: int) -> None:
        """The client has this frame, if it is one that was sent and not one of an attempt before."""
        if index in self._in_flight:
            self.received.add(index)
            self._in_flight.discard(index)
            await asyncio.to_thread(self._folder.receive_frame, index)

    def restart(self) -> None:
        """Every frame is made anew, and all of them go to the client."""
        self.received.clear()
        self._ready.clear()
        self._in_flight.clear()

    async def end(self, ending: messages.Message) -> None:
        """The job has ended; told once every frame has been sent."""
        self._ending = ending
        await self.pump()

    async def pump(self) -> None:
        """Send what may be sent. A frame that the socket does not take now is tried again at the next pump."""
        async with self._pumping:
            while not self.closed and (waiting := self._ready - self.received - self._in_flight):
                if (self._in_flight and not self._has_room()) or not await self._send_frame(min(waiting)):
                    return
            if self._ending is not None and not (self.ended or self.closed):
                self.ended = await self._send(self.client, self._ending)

    async def _send_frame(self, index: int) -> bool:
        try:
            name, array = await asyncio.to_thread(self._folder.read_frame, index)
        except (OSError, ValueError) as error:
            await self._leave_out(index, error)
            return True
        if not self._wants(index):
            return True
        self._in_flight.add(index)
        taken = await self._send(self.client, _result(self.job, index, name, array))
        if not taken:
            self._in_flight.discard(index)
        return taken


    async def _leave_out(self, index: int, error: Exception) -> None:
        """A frame that cannot be read. The client has it, or finds it missing at the end and says so."""
        acknowledged = await asyncio.to_thread(self._folder.received_indices)  # through another connection, just now
        if self._wants(index) and index not in acknowledged:
            log.error("frame %d of job %s cannot be read from the spool", index, self.job, exc_info=error)
        self._ready.discard(index)

    def _wants(self, index: int) -> bool:
        """It may be restarted meanwhile, so that the frame is made anew, or closed."""
        return index in self._ready and not self.closed


def _result(job: str, index: int, name: str, array: np.ndarray) -> messages.Frame | messages.Signal:
    if name:
        return messages.Signal(job=job, index=index, name=name, array=array)
    return messages.Frame(job=job, index=index, array=array)
