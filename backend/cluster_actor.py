"""The worker on a cluster: a Ray actor that says what a worker process says.

Signals come and frames go as Ray objects, so that it needs no folder of the server's machine.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator

import numpy as np

from ..shared import messages
from . import engines
from .machine import find_devices
from .worker import Result, Worker, be_quiet
from .worker_socket import seconds_idle


class ClusterActor:
    """A worker.Worker in an actor of several threads: one runs a job, others are told to stop it or ask how it is."""

    def __init__(self):
        be_quiet()
        self._stopped = ""
        self._worker = Worker(lambda job: job == self._stopped)
        self._busy = threading.Lock()
        self._idle = threading.Timer(0, lambda: None)

    def ready(self) -> messages.Ready:
        """What it can do, and where."""
        device = find_devices()[0]
        return messages.Ready(
            pid=os.getpid(), engines=engines.engine_infos(), place=f"{socket.gethostname()}, {device.name}", memory=device.memory
        )

    def live(self) -> None:
        """Never returns: the call fails when the actor's process is no more, or cannot be reached."""
        threading.Event().wait()

    def run(self, work: messages.Work, names: list[str], *arrays: np.ndarray) -> Iterator[messages.JobEvent]:
        """A job's events up to its end, its signals given by their names; frames have their arrays."""
        self._idle.cancel()
        with self._busy:
            self._stopped = ""
            yield from self._worker.run(work, Carried(dict(zip(names, arrays))))
        self._idle = threading.Timer(seconds_idle(), self.release)
        self._idle.daemon = True
        self._idle.start()

    def stop(self, job: str) -> None:
        self._stopped = job

    def release(self) -> messages.MemoryReleased:
        """Let go of what is kept for the next job."""
        with self._busy:
            self._worker.release()
        return messages.MemoryReleased()


class Carried:
    """worker.Store whose arrays travel with the messages."""

    def __init__(self, signals: dict[str, np.ndarray]):
        self._signals = signals

    def read_signals(self) -> dict[str, np.ndarray]:
        return self._signals

    def keep(self, result: Result) -> Result:
        return result

    def sync(self) -> None:
        """The server does so once it has them."""
