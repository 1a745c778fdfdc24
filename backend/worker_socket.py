"""The worker process: jobs come and events go over a socket, arrays lie in the spool.

It is told by the first line of its standard input how to reach the server, and ends as soon as that input does:
the server holds the other end, so a server that is killed takes its worker along on every system.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

import msgspec
import numpy as np
import zmq

from ..shared import messages, wire
from . import engines
from .spool import JobFolder
from .worker import Result, Worker, be_quiet

SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_IDLE = 600.0  # after which the engine's memory is given back; the variable DAS_IDLE_SECONDS sets another time


class WorkerKeys(msgspec.Struct, kw_only=True):
    """How a worker reaches its server: the line on its standard input."""

    name: str
    address: str
    server_public: str
    public: str
    secret: str


def main() -> int:
    """Serve until the server is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a Ctrl-C at the terminal is the server's to handle
    if not (line := sys.stdin.buffer.readline()):
        return 0  # the server was killed before it could say anything
    keys = msgspec.json.decode(line, type=WorkerKeys)
    threading.Thread(target=_end_with_input, daemon=True).start()
    be_quiet()
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        wire.join_curve(socket, keys.server_public, keys.public, keys.secret)
        socket.routing_id = keys.name.encode()
        socket.connect(keys.address)
        SocketWorker(socket).serve()
    return 0


def _end_with_input() -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock would abort an interpreter that ends
        pass
    os._exit(0)  # whatever the main thread does: nobody is left to hear of it


class SocketWorker:
    """A worker at the end of a socket."""

    def __init__(self, socket: zmq.Socket):
        self._socket = socket
        self._worker = Worker(self._stop_asked)
        self._looked = 0.0

    def serve(self) -> None:
        self._send(messages.Ready(pid=os.getpid(), engines=engines.engine_infos()))
        idle = seconds_idle()
        while True:
            if not self._socket.poll(idle * 1000):
                self._worker.release()
            message = self._receive()
            if isinstance(message, messages.Work):
                for event in self._worker.run(message, Spool(JobFolder(Path(message.folder)))):
                    self._send(event)
            elif isinstance(message, messages.ReleaseMemory):
                self._worker.release()
                self._send(messages.MemoryReleased())

    def _stop_asked(self, job: str) -> bool:
        """What has come meanwhile, looked at not too often."""
        now, asked = time.monotonic(), False
        if now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            while self._socket.poll(0):
                message = self._receive()
                asked |= isinstance(message, messages.Stop) and message.job == job
        return asked

    def _receive(self) -> messages.Message:
        return wire.decode(self._socket.recv_multipart(copy=False), messages.ToWorker)

    def _send(self, message: messages.Message) -> None:
        self._socket.send_multipart(wire.encode(message), copy=False)


class Spool:
    """worker.Store in a folder that the server sees too: results are written there, and told of without their arrays."""

    def __init__(self, folder: JobFolder):
        self._folder = folder

    def read_signals(self) -> dict[str, np.ndarray]:
        return self._folder.read_signals()

    def keep(self, result: Result) -> Result:
        self._folder.write_frame(result.index, result.array, getattr(result, "name", ""))
        return msgspec.structs.replace(result, array=messages.EMPTY)

    def sync(self) -> None:
        self._folder.sync_frames()


def seconds_idle() -> float:
    return float(os.environ.get("DAS_IDLE_SECONDS", SECONDS_IDLE))
