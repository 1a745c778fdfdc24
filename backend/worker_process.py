"""The worker seen from the server: started, spoken to, watched, stopped."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import uuid

import msgspec

from .worker import WorkerKeys

SECONDS_TO_STOP = 2.0


class WorkerProcess:
    """One worker process: ``ready`` once it has said what its engines can do, ``job`` while it runs one.

    ``heard`` is when it last said anything. ``ending`` says why it is being ended, ``hung`` that it had to be for its silence.
    """

    def __init__(self, address: str, server_public: str, public: str, secret: str):
        self.name = f"worker-{uuid.uuid4().hex}".encode()
        self.ready = False
        self.job: str | None = None
        self.cancel_by: float | None = None
        self.heard = 0.0
        self.ending = ""
        self.hung = False
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
        return self.ready and self.job is None and not self.ending

    async def ended(self) -> str:
        """Wait until the process has ended; how it did, in words."""
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

