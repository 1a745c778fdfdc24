"""A job's frames on their way from the spool to the one client that writes its take."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable

import numpy as np

from ..shared import messages
from .spool import JobFolder

FRAMES_IN_FLIGHT = 8  # what a slow reader costs in memory

Send = Callable[[bytes, messages.Message], Awaitable[bool]]


class Delivery:
    """Sends frames in order of their index, a few ahead of what the client has acknowledged, and then the end."""

    def __init__(self, job: str, client: bytes, folder: JobFolder, send: Send, have: Iterable[int] = ()):
        self.job = job
        self.client = client
        self.received = set(have)
        self.ended = False
        self._folder = folder
        self._send = send
        self._ready: set[int] = set()
        self._in_flight: set[int] = set()
        self._ending: messages.Message | None = None
        self._pumping = asyncio.Lock()

    async def add(self, indices: Iterable[int]) -> None:
        """These frames lie in the spool; one that is made anew goes out anew unless the client has it."""
        self._ready.update(indices)
        await self.pump()

    async def acknowledge(self, index: int) -> None:
        """The client has this frame."""
        self.received.add(index)
        self._in_flight.discard(index)
        await asyncio.to_thread(self._folder.drop_frame, index)
        await self.pump()

    async def end(self, ending: messages.Message) -> None:
        """The job has ended; told once every frame has been sent."""
        self._ending = ending
        await self.pump()

    async def pump(self) -> None:
        """Send what may be sent. A frame that the socket does not take now is tried again at the next pump."""
        async with self._pumping:
            for index in sorted(self._ready - self.received - self._in_flight):
                if len(self._in_flight) >= FRAMES_IN_FLIGHT:
                    return
                name, array = await asyncio.to_thread(self._folder.read_frame, index)
                self._in_flight.add(index)
                if not await self._send(self.client, _result(self.job, index, name, array)):
                    self._in_flight.discard(index)
                    return
            if self._ending is not None and not self.ended:
                self.ended = await self._send(self.client, self._ending)


def _result(job: str, index: int, name: str, array: np.ndarray) -> messages.Frame | messages.Signal:
    if name:
        return messages.Signal(job=job, index=index, name=name, array=array)
    return messages.Frame(job=job, index=index, array=array)
