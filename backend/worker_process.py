"""The worker seen from the server: started, spoken to, watched, stopped."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import uuid

import msgspec

from .worker import WorkerKeys

SECONDS_TO_STOP = 3.0


class WorkerProcess:
    """One worker process: ``ready`` once it has said what its engines can do, ``job`` while it runs one."""

    def __init__(self, address: str, server_public: str, public: str, secret: str):
        self.name = f"worker-{uuid.uuid4().hex}".encode()
        self.ready = False
        self.job: str | None = None
        self.cancel_by: float | None = None
        keys = WorkerKeys(
            name=self.name.decode(), address=address, server_public=server_public, public=public, secret=secret
        )
        self._process = subprocess.Popen([sys.executable, "-m", __package__, "worker"], stdin=subprocess.PIPE)
        # Keys go through standard input: arguments and environment are readable by others on some systems.
        self._process.stdin.write(msgspec.json.encode(keys) + b"\n")
        self._process.stdin.flush()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def idle(self) -> bool:
        return self.ready and self.job is None

    async def ended(self) -> str:
        """Wait until the process has ended; how it did, in words."""
        return how_it_ended(await asyncio.to_thread(self._process.wait))

    def kill(self) -> None:
        self._process.kill()

    async def stop(self) -> None:
        """Ask by closing its input, wait, terminate, wait, kill."""
        self._process.stdin.close()
        for harder in (self._process.terminate, self._process.kill, None):
            try:
                await asyncio.to_thread(self._process.wait, SECONDS_TO_STOP)
                return
            except subprocess.TimeoutExpired:
                if harder:
                    harder()


def how_it_ended(code: int) -> str:
    """'by signal SIGKILL' or 'with code 3'."""
    if code < 0:
        return f"by signal {signal.Signals(-code).name}"
    return f"with code {code}"

