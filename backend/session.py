"""One connected client: what it has said and is waiting for, within its bounds."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Sequence

from ..shared import messages, wire
from .limits import INBOX_MESSAGES, MESSAGES_A_SECOND, MESSAGES_AT_ONCE, TokenBucket


class Session:
    """A client: its name, whose jobs it brings, when it was last heard, its inbox and how many bytes wait there, and how fast it may speak."""

    def __init__(self, client: bytes, hello: messages.Hello, heard: float):
        self.client = client
        self.name = "".join(sign if sign.isprintable() else "?" for sign in hello.name)  # it stands in the log's lines
        self.owner = f"{hello.name} {hello.pid}@{hello.host}"  # its process: jobs of each take turns
        self.pid = hello.pid if hello.host and hello.host == socket.gethostname() else None  # where it means something here
        self.heard = heard
        self.pace = TokenBucket(MESSAGES_A_SECOND, MESSAGES_AT_ONCE)
        self.task: asyncio.Task | None = None
        self.waiting_bytes = 0
        self._inbox: asyncio.Queue = asyncio.Queue(INBOX_MESSAGES)

    @property
    def full(self) -> bool:
        return self._inbox.full()

    def put(self, message: messages.Message, frames: Sequence) -> None:
        """A message's outline, and its frames for its arrays."""
        self.waiting_bytes += wire.size(frames)
        self._inbox.put_nowait((message, frames))

    async def get(self) -> tuple[messages.Message, Sequence]:
        """The next message, once it is its turn and the client has not spoken too fast; :meth:`done` must follow."""
        message, frames = await self._inbox.get()
        while not self.pace.take():
            await asyncio.sleep(self.pace.wait())
        return message, frames

    def done(self, frames: Sequence) -> None:
        """A message that was got is dealt with."""
        self.waiting_bytes -= wire.size(frames)
