"""The worker: a process of its own that runs one job at a time, so that a crash of an engine is only its own.

It is told by the first line of its standard input how to reach the server, and ends as soon as that input does:
the server holds the other end, so a server that is killed takes its worker along on every system.
"""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import os
import signal
import sys
import threading
import time
import traceback
from contextlib import closing
from pathlib import Path

import msgspec
import zmq

from ..shared import messages, task_signals, wire
from ..shared.errors import Cancelled, DasError, GenerationError, first_line
from ..shared.request import GenerationRequest
from . import engines, tasks
from .pace import Pace
from .spool import JobFolder

SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_IDLE = 600.0  # after which the engine's memory is given back; the variable DAS_IDLE_SECONDS sets another time
DRIVER_FAILS = ("CUDA error", "CUDA driver", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "NVML", "HIP error")
LIBRARIES = ("diffusion_as_shader", "numpy", "torch", "diffusers")

log = logging.getLogger(__name__)


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
        return 0  # the server was killed in the moment between starting us and telling us
    keys = msgspec.json.decode(line, type=WorkerKeys)
    threading.Thread(target=_end_with_input, daemon=True).start()
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")  # their warnings quote prompts, and what we print is logged
    with zmq.Context() as context, context.socket(zmq.DEALER) as socket:
        wire.join_curve(socket, keys.server_public, keys.public, keys.secret)
        socket.routing_id = keys.name.encode()
        socket.connect(keys.address)
        Worker(socket).serve()
    return 0


def _end_with_input() -> None:
    while os.read(0, 1024):  # not through sys.stdin, whose lock would abort an interpreter that ends
        pass
    os._exit(0)  # whatever the main thread does: nobody is left to hear of it


class Worker:
    """Runs jobs with engines and says how they go."""

    def __init__(self, socket: zmq.Socket):
        self._socket = socket
        self._engine: engines.Engine | None = None
        self._job = ""
        self._stopped = False
        self._looked = 0.0

    def serve(self) -> None:
        self._send(messages.Ready(pid=os.getpid(), engines=engines.engine_infos()))
        idle = float(os.environ.get("DAS_IDLE_SECONDS", SECONDS_IDLE))
        while True:
            if not self._socket.poll(idle * 1000):
                self._release()
            message = wire.decode(self._socket.recv_multipart(copy=False), messages.ToWorker)
            if isinstance(message, messages.Work):
                self._send(self._run(message))
            elif isinstance(message, messages.ReleaseMemory):
                self._release()
                self._send(messages.MemoryReleased())

    def _run(self, work: messages.Work) -> messages.Done | messages.Failed | messages.Cancelled:
        """Run a job to its end; whatever goes wrong becomes a Failed with kind and fix.

        After one of kind "driver" this process can use its card no more; the server ends it.
        """
        self._job, self._stopped = work.job, False
        try:
            return self._prepare(work) if work.work == "prepare" else self._generate(work)
        except Cancelled:
            return messages.Cancelled(job=work.job)
        except DasError as error:
            return messages.Failed(job=work.job, kind=error.kind, message=error.message, fix=error.fix, action=error.action)
        except Exception as error:  # an engine is foreign code: its failure is the job's, not the worker's
            log.error("job %s failed\n%s", work.job, _without_words(traceback.format_exc(), work.request))
            failed = _failed(work, error)
        if failed.kind == "out_of_memory":
            self._release()  # not before the traceback that held it is gone
        return failed

    def _generate(self, work: messages.Work) -> messages.Done | messages.Cancelled:
        request, folder = work.request, JobFolder(Path(work.folder))
        began = time.monotonic()
        signals = folder.read_signals()
        engine = self._load(request)
        loaded = time.monotonic()
        told, made, pace = engines.Report(used=[]), set(work.have), Pace()
        for event in engine.generate(request, signals, cancelled=self._cancelled, have=frozenset(work.have)):
            match event:
                case engines.Progress():
                    self._report(pace, event)
                case engines.Preview():
                    self._send(messages.Preview(job=work.job, array=event.frames))
                case engines.Frame():
                    _check_frame(event, request)
                    folder.write_frame(event.index, event.pixels)
                    made.add(event.index)
                    self._send(messages.Frame(job=work.job, index=event.index))
                case engines.Report():
                    told = event
            if self._cancelled():
                break
        if self._cancelled():
            return messages.Cancelled(job=work.job)
        if len(made) != request.frames:
            raise GenerationError(
                f"The engine {request.engine} made {len(made)} of {request.frames} frames.", "Report this with the log."
            )
        folder.sync_frames()
        timings = {"load": loaded - began, "generate": time.monotonic() - loaded}
        versions = _versions() | told.versions
        return messages.Done(job=work.job, used=told.used, notes=told.notes, timings=timings, versions=versions)

    def _prepare(self, work: messages.Work) -> messages.Done | messages.Cancelled:
        """Let a task make the signals of a take."""
        began, folder, names, told, pace = time.monotonic(), JobFolder(Path(work.folder)), [], engines.Report(used=[]), Pace()
        inputs = folder.read_signals()
        if tasks.may_load_models(work.request, inputs):
            self._release()  # the memory is theirs, and theirs is free again once they are done
        with closing(tasks.prepare(work.request, inputs, cancelled=self._cancelled)) as events:  # gives models back also when left early
            for event in events:
                match event:
                    case engines.Progress():
                        self._report(pace, event)
                    case tasks.Signal():
                        task_signals.check_output(work.request, event.name, event.array)
                        folder.write_frame(len(names), event.array, event.name)
                        self._send(messages.Signal(job=work.job, index=len(names), name=event.name))
                        names.append(event.name)
                    case engines.Report():
                        told = event
                if self._cancelled():
                    return messages.Cancelled(job=work.job)
        return messages.Done(
            job=work.job,
            signals=names,
            used=told.used,
            notes=told.notes,
            timings={"prepare": time.monotonic() - began},
            versions=_versions() | told.versions,
        )

    def _load(self, request) -> engines.Engine:
        """The engine, made once and kept while jobs ask for the same."""
        if self._engine is None or self._engine.name != request.engine:
            # importing an engine's libraries may take many seconds
            self._send(messages.Progress(job=self._job, phase="start", step=0, total=1, eta=None))
            self._release()
            self._engine = engines.make_engine(request.engine)
        self._engine.load(request)
        return self._engine

    def _release(self) -> None:
        """Let go of the engine and of all that it holds."""
        if self._engine is not None:
            self._engine.release()
        self._engine = None

    def _report(self, pace: Pace, event: engines.Progress) -> None:
        eta = pace.eta(event.phase, event.step, event.total)
        if pace.due(event.step, event.total):
            self._send(
                messages.Progress(job=self._job, phase=event.phase, step=event.step, total=event.total, eta=eta)
            )

    def _cancelled(self) -> bool:
        """The server wants this job stopped. Cheap enough to be asked at every step."""
        now = time.monotonic()
        if not self._stopped and now - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = now
            while self._socket.poll(0):
                message = wire.decode(self._socket.recv_multipart(copy=False), messages.ToWorker)
                self._stopped |= isinstance(message, messages.Stop) and message.job == self._job
        return self._stopped

    def _send(self, message: messages.Message) -> None:
        self._socket.send_multipart(wire.encode(message), copy=False)


def _check_frame(frame: engines.Frame, request) -> None:
    expected = (request.height, request.width, 3)
    if frame.pixels.shape != expected or frame.pixels.dtype.str != "|u1" or not 0 <= frame.index < request.frames:
        raise GenerationError(
            f"The engine {request.engine} made a frame {frame.index} of {frame.pixels.shape}, not {expected}.",
            "Report this with the log.",
        )


def _failed(work: messages.Work, error: Exception) -> messages.Failed:
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        kind, said, fix = "out_of_memory", "The memory does not suffice", "Choose fewer frames or a smaller size."
    elif isinstance(error, RuntimeError) and any(word in str(error) for word in DRIVER_FAILS):
        kind, said = "driver", f"The graphics card or its driver failed: {first_line(error)}"
        fix = "Try again; if it stays so, restart the machine, and see das doctor."
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        kind, said, fix = "disk_full", "The backend's disk is full", "Free some space and try again."
    else:
        what = f"engine {work.request.engine}" if work.work == "generate" else f"task {work.request.task}"
        kind, said = "engine", f"The {what} failed: {type(error).__name__}: {error}"
        fix = "See logs/backend.log in the DAS_HOME folder (das doctor names it)."
    action = "smaller_video" if kind == "out_of_memory" else ""
    return messages.Failed(job=work.job, kind=kind, message=f"{said}.", fix=fix, action=action)


def _without_words(text: str, request: GenerationRequest) -> str:
    """A log is passed on to others; prompts are their writer's."""
    for words in (request.prompt, request.negative_prompt):
        if len(words) > 3:  # fewer letters give nothing away, and stand in many other words
            text = text.replace(words, "[prompt]")
    return text


def _versions() -> dict[str, str]:
    found = {}
    for name in LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # not installed as a package, or not at all: it has no version to tell
    return found
