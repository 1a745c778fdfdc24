"""The worker: runs one job at a time with its engine and says how it goes. It runs in a process of its own
(worker_socket.py, cluster_actor.py), so that a crash of an engine is only its own."""

from __future__ import annotations

import errno
import importlib.metadata
import logging
import os
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Protocol

import numpy as np

from ..shared import messages, task_signals
from ..shared.errors import Cancelled, DasError, GenerationError, first_line
from ..shared.request import GenerationRequest
from . import engines, scoring, tasks
from .pace import Pace

DRIVER_FAILS = ("CUDA error", "CUDA driver", "cuDNN error", "CUDNN_STATUS", "CUBLAS_STATUS", "NVML", "HIP error")
LIBRARIES = ("diffusion_as_shader", "numpy", "torch", "diffusers")

log = logging.getLogger(__name__)


Result = messages.Frame | messages.Signal
Events = Iterator[messages.JobEvent]


class Store(Protocol):
    """Where a job's arrays come from, and where they go to."""

    def read_signals(self) -> dict[str, np.ndarray]:
        """Read-only."""

    def keep(self, result: Result) -> Result:
        """Take a result where the server finds it; what it is told of it."""

    def sync(self) -> None:
        """All that was kept is there for good."""


def be_quiet() -> None:
    """Libraries' warnings quote prompts, and what we print is logged."""
    for library in ("DIFFUSERS", "TRANSFORMERS"):
        os.environ.setdefault(f"{library}_VERBOSITY", "error")


class Worker:
    """Runs jobs with engines. ``stop_asked`` says whether a job is to be stopped, and is asked at every step."""

    def __init__(self, stop_asked: Callable[[str], bool]):
        self._stop_asked = stop_asked
        self._engine: engines.Engine | None = None
        self._job = ""
        self._stopped = False

    def run(self, work: messages.Work, store: Store) -> Events:
        """Run a job; its last event is a Done, Failed or Cancelled. Whatever goes wrong becomes a Failed with kind and fix.

        After one of kind "driver" this process can use its card no more; the server ends it.
        """
        self._job, self._stopped = work.job, False
        try:
            yield from {"generate": self._generate, "prepare": self._prepare, "score": self._score}[work.work](work, store)
            return
        except Cancelled:
            end = messages.Cancelled(job=work.job)
        except DasError as error:
            end = messages.Failed(job=work.job, kind=error.kind, message=error.message, fix=error.fix, action=error.action)
        except Exception as error:  # an engine is foreign code: its failure is the job's, not the worker's
            log.error("job %s failed\n%s", work.job, _without_words(traceback.format_exc(), work.request))
            end = failure(work, error)
        if isinstance(end, messages.Failed) and end.kind == "out_of_memory":
            self.release()  # not before the traceback that held it is gone
        yield end

    def _generate(self, work: messages.Work, store: Store) -> Events:
        request = work.request
        began = time.monotonic()
        signals = store.read_signals()
        engine = yield from self._load(request)
        loaded = time.monotonic()
        told, made, pace = engines.Report(used=[]), set(work.have), Pace()
        for event in engine.generate(request, signals, cancelled=self._cancelled, have=frozenset(work.have)):
            match event:
                case engines.Progress():
                    yield from self._report(pace, event)
                case engines.Preview():
                    yield messages.Preview(job=work.job, array=event.frames)
                case engines.Frame():
                    _check_frame(event, request)
                    kept = store.keep(messages.Frame(job=work.job, index=event.index, array=event.pixels))
                    made.add(event.index)
                    yield kept
                case engines.Report():
                    told = event
            if self._cancelled():
                break
        if self._cancelled():
            raise Cancelled("Cancelled.")
        if len(made) != request.frames:
            raise GenerationError(
                f"The engine {request.engine} made {len(made)} of {request.frames} frames.", "Report this with the log."
            )
        store.sync()
        timings = {"load": loaded - began, "generate": time.monotonic() - loaded}
        versions = _versions() | told.versions
        yield messages.Done(job=work.job, used=told.used, notes=told.notes, timings=timings, versions=versions)

    def _prepare(self, work: messages.Work, store: Store) -> Events:
        """Let a task make the signals of a take."""
        began, names, told, pace = time.monotonic(), [], engines.Report(used=[]), Pace()
        inputs = store.read_signals()
        if tasks.may_load_models(work.request, inputs):
            self.release()  # the memory is theirs, and theirs is free again once they are done
        with closing(tasks.prepare(work.request, inputs, cancelled=self._cancelled)) as events:  # gives models back also when left early
            for event in events:
                match event:
                    case engines.Progress():
                        yield from self._report(pace, event)
                    case tasks.Signal():
                        task_signals.check_output(work.request, event.name, event.array)
                        yield store.keep(messages.Signal(job=work.job, index=len(names), name=event.name, array=event.array))
                        names.append(event.name)
                    case engines.Report():
                        told = event
                if self._cancelled():
                    raise Cancelled("Cancelled.")
        yield messages.Done(
            job=work.job,
            signals=names,
            used=told.used,
            notes=told.notes,
            timings={"prepare": time.monotonic() - began},
            versions=_versions() | told.versions,
        )

    def _score(self, work: messages.Work, store: Store) -> Events:
        """Measure a result; the engine keeps what it holds for the next."""
        began, pace, found = time.monotonic(), Pace(), None
        with closing(scoring.score(store.read_signals(), cancelled=self._cancelled)) as events:
            for event in events:
                if isinstance(event, engines.Progress):
                    yield from self._report(pace, event)
                else:
                    found = event
        yield messages.Done(job=work.job, score=found, timings={"score": time.monotonic() - began}, versions=_versions())

    def _load(self, request: GenerationRequest):
        """The engine, made once and kept while jobs ask for the same; a generator of what is to be said meanwhile."""
        if self._engine is None or self._engine.name != request.engine:
            # importing an engine's libraries may take many seconds
            yield messages.Progress(job=self._job, phase="start", step=0, total=1, eta=None)
            self.release()
            self._engine = engines.make_engine(request.engine)
        self._engine.load(request)
        return self._engine

    def release(self) -> None:
        """Let go of the engine and of all that it holds."""
        if self._engine is not None:
            self._engine.release()
        self._engine = None

    def _report(self, pace: Pace, event: engines.Progress) -> Events:
        eta = pace.eta(event.phase, event.step, event.total)
        if pace.due(event.step, event.total):
            yield messages.Progress(job=self._job, phase=event.phase, step=event.step, total=event.total, eta=eta)

    def _cancelled(self) -> bool:
        """The server wants this job stopped."""
        self._stopped = self._stopped or self._stop_asked(self._job)
        return self._stopped


def _check_frame(frame: engines.Frame, request) -> None:
    expected = (request.height, request.width, 3)
    if frame.pixels.shape != expected or frame.pixels.dtype.str != "|u1" or not 0 <= frame.index < request.frames:
        raise GenerationError(
            f"The engine {request.engine} made a frame {frame.index} of {frame.pixels.shape}, not {expected}.",
            "Report this with the log.",
        )


def failure(work: messages.Work, error: Exception) -> messages.Failed:
    """How a job ends that an unexpected error has broken off."""
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, which is not imported here
        kind, said, fix = "out_of_memory", "The memory does not suffice", "Choose fewer frames or a smaller size."
    elif isinstance(error, RuntimeError) and any(word in str(error) for word in DRIVER_FAILS):
        kind, said = "driver", f"The graphics card or its driver failed: {first_line(error)}"
        fix = "Try again; if it stays so, restart the machine, and see das doctor."
    elif isinstance(error, OSError) and error.errno == errno.ENOSPC:
        kind, said, fix = "disk_full", "The backend's disk is full", "Free some space and try again."
    else:
        what = {"generate": f"engine {work.request.engine}", "prepare": f"task {work.request.task}"}.get(work.work, work.work)
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
