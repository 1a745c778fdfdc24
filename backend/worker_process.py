"""A worker on this machine, seen from the server: a process that is started, spoken to by a socket, watched, stopped."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable

import msgspec

from ..shared import messages
from .worker_line import Device, WorkerLine
from .worker_socket import WorkerKeys

SECONDS_TO_STOP = 2.0

Order = Callable[[bytes, messages.Message], Awaitable[None]]


class WorkerProcess(WorkerLine):
    """One worker process, which sees no card but its own. ``order`` speaks to a worker by its name."""

    def __init__(self, device: Device, order: Order, address: str, server_public: str, public: str, secret: str):
        super().__init__()
        self._order = order
        keys = WorkerKeys(
            name=self.name.decode(), address=address, server_public=server_public, public=public, secret=secret
        )
        variables = os.environ if device.visible is None else {**os.environ, "CUDA_VISIBLE_DEVICES": device.visible}
        command = [sys.executable, "-m", __package__, "worker"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, env=variables)
        # Keys go through standard input: arguments and environment are readable by others on some systems.
        self._process.stdin.write(msgspec.json.encode(keys) + b"\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    async def order(self, message: messages.Message) -> None:
        await self._order(self.name, message)

    async def ended(self) -> str:
        return how_it_ended(await asyncio.to_thread(self._process.wait))

    async def stop(self) -> bool:
        """Ask by closing its input, wait, terminate, wait, kill, wait; whether it has ended."""
        self._process.stdin.close()
        for harder in (self._process.terminate, self._process.kill, None):
            try:
                await asyncio.to_thread(self._process.wait, SECONDS_TO_STOP)
                return True
            except subprocess.TimeoutExpired:
                if harder:
                    harder()
        return False


def how_it_ended(code: int) -> str:
    """'by signal SIGKILL' or 'with code 3'."""
    if code < 0:
        return f"by signal {signal.Signals(-code).name}"
    return f"with code {code}"
