"""A prepared take becomes a finished one: handed to the backend, received frame by frame, written."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress

import numpy as np

from . import backend_process, messages
from .client import Client, connecting
from .errors import BackendError, Cancelled, DasError, GenerationError, SceneError, UsageError
from .take import Take, content_hash, failure_of

SECONDS_TO_CANCEL = 5.0
SECONDS_BETWEEN_LOOKS = 0.05
RETURNS = 3  # to a backend that was killed under us
GONE = ("backend_lost", "backend_stopped")


class BackendGone(GenerationError):
    """The backend ended while it worked for us, by itself or because somebody stopped it. It still has the job."""

    def __init__(self, failed: messages.Failed):
        super().__init__(failed.message, failed.fix, "resume_take")
        self.kind = failed.kind


class Left(Exception):
    """The client goes; what the backend has of its job goes on there, and can be attached again."""


def never() -> bool:
    return False


def reach_backend(name: str) -> Iterator[Client | None]:
    """A client of the backend that runs, or of one that is started, in steps that do not block: None until the last.

    BackendError where none can be had. One that ends just now, as its last lease does, is replaced once.
    """
    try:
        yield from _reach_once(name)
    except BackendError:
        if backend_process.find_backend() is not None:
            raise
        yield from _reach_once(name)


def _reach_once(name: str) -> Iterator[Client | None]:
    for connection in backend_process.starting():
        if connection is None:
            yield None
        else:
            yield from connecting(connection, name)


def generate(
    take: Take,
    client: Client,
    signals: dict[str, np.ndarray] | None = None,
    *,
    patience: float = 0.0,
    cancelled: Callable[[], bool] = never,
    title: str = "",
) -> Iterator[messages.Message | None]:
    """Each event of the take's job once the take has taken it in, None where none has arrived.

    ``signals`` are read from the take where they are not at hand. ``patience`` is how many seconds a round may
    wait for the next event: 0 in a window, more in a loop. A frame is acknowledged once it is on disk. Where the backend
    is killed another is started, which goes on with the job. What ends the generation early is raised (Cancelled,
    BackendError, GenerationError) and written into the take; a generator closed too early leaves the take cancelled, one whose
    ``cancelled`` raises Left leaves it, and the job at the backend, as they are.
    """
    began = time.monotonic()
    with told_in(take), ExitStack() as opened:
        try:
            yield from _hand_over(take, client, signals, title, patience, cancelled)
            for last in (*[False] * RETURNS, True):
                if (yield from _receive(take, client, patience, cancelled, last)):
                    break
                client = opened.enter_context((yield from _return(take, client.name, cancelled)))
                if not (yield from _attach(take, client, patience, cancelled)):  # it was not accepted yet
                    _submit(take, client, signals, title)
        except (BackendGone, Left):
            raise
        except BaseException:  # also a generator that is closed: the backend must not work on for nobody
            client.cancel(take.record.job)
            raise
        yield messages.Progress(job=take.record.job, phase="video", step=0, total=1, eta=None)
        yield from _finish(take, began)


@contextmanager
def told_in(take: Take) -> Iterator[None]:
    """What ends the work is written into the take; a scene or request that cannot be used leaves none."""
    try:
        yield
    except Left:
        raise
    except (Cancelled, GeneratorExit, KeyboardInterrupt):
        give_up_cancelled(take)
        raise
    except DasError as error:
        if isinstance(error, (SceneError, UsageError)) and not take.tracking_file(0).exists():
            take.discard()
        else:
            give_up(take, error)
        raise
    except Exception as error:
        give_up(take, DasError(f"{type(error).__name__}: {error}.", "Report this error."))
        raise


def give_up(take: Take, error: DasError) -> None:
    """The take failed: say why in it. On a full disk even that may not be possible, and the error itself is told."""
    with suppress(GenerationError):
        take.set_state("failed", failure_of(error, error.kind))


def give_up_cancelled(take: Take) -> None:
    """The take was cancelled; as in :func:`give_up`."""
    with suppress(GenerationError):
        take.set_state("cancelled")


def _hand_over(
    take: Take, client: Client, signals: dict[str, np.ndarray] | None, title: str, patience: float, cancelled: Callable[[], bool]
) -> Iterator[None]:
    """Take up a job that the backend still has, or submit the take."""
    record = take.record
    broken_off = record.failure is not None and record.failure.kind in (*GONE, BackendError.kind)
    if record.state in ("queued", "running") or broken_off:
        if (yield from _attach(take, client, patience, cancelled)) not in ("", "failed", "cancelled"):
            return
    _submit(take, client, signals, title)


def _return(take: Take, name: str, cancelled: Callable[[], bool]):
    """A client of the next backend, in steps that do not block for long."""
    yield messages.Progress(job=take.record.job, phase="backend", step=0, total=1, eta=None)
    for client in reach_backend(name):
        if cancelled():
            raise Cancelled("The generation was cancelled.")
        if client is None:
            time.sleep(SECONDS_BETWEEN_LOOKS / 10)
            yield None
    return client


def _submit(take: Take, client: Client, signals: dict[str, np.ndarray] | None, title: str) -> None:
    # A new id each time: a folder that was copied before it was generated from would bring its twin's along.
    take.record.job = uuid.uuid4().hex
    if signals is None:
        signals = take.read_signals()
        take.record.hashes.update({name: content_hash(signals[name]) for name in ("tracking", "first_frame")})
    take.set_state("queued")
    client.submit(take.record.job, take.record.request, signals, title or take.folder.name)


def _attach(take: Take, client: Client, patience: float, cancelled: Callable[[], bool]):
    """Let the backend send what is missing; the job's state there, empty where it no longer has it or its frames. In steps."""
    missing = set(take.missing_frames())
    have = [index for index in range(take.record.request.frames) if index not in missing]
    asking = client.attaching(take.record.job, have, patience)
    try:
        while True:
            next(asking)
            if cancelled():
                raise Cancelled("The generation was cancelled.")
            yield None
    except StopIteration as answered:
        return answered.value.state
    except UsageError:
        return ""


def _receive(take: Take, client: Client, patience: float, cancelled: Callable[[], bool], last: bool):
    """All that comes; False where the backend was killed meanwhile, which at the ``last`` time is raised."""
    try:
        yield from _receive_all(take, client, patience, cancelled)
    except BackendGone as gone:
        if last or gone.kind == "backend_stopped":
            raise
        return False
    return True


def _receive_all(take: Take, client: Client, patience: float, cancelled: Callable[[], bool]):
    fetched_again = False
    for event in events_of(take.record.job, client, patience, cancelled):
        if event is not None:
            _take_in(take, client, event)
        yield event
        if isinstance(event, messages.Done):
            if not take.missing_frames():
                return
            if fetched_again or not (yield from _attach(take, client, patience, cancelled)):
                raise _incomplete(take)
            fetched_again = True


def events_of(
    job: str, client: Client, patience: float, cancelled: Callable[[], bool]
) -> Iterator[messages.Message | None]:
    """A job's events for ever, None where none has arrived in ``patience`` seconds; Cancelled once it has been asked for,
    if the backend does not say so itself."""
    stop_at = None
    while True:
        client.wait(job, patience)
        for event in client.events(job) or [None]:
            yield event
            if cancelled() and stop_at is None:  # not after many events that are waiting already
                client.cancel(job)
                stop_at = time.monotonic() + SECONDS_TO_CANCEL
        if stop_at is not None and time.monotonic() > stop_at:
            raise Cancelled("The generation was cancelled.")


def _take_in(take: Take, client: Client, event: messages.Message) -> None:
    record = take.record
    match event:
        case messages.Progress() if record.state == "queued":
            take.set_state("running")
        case messages.Frame():
            take.write_frame(event.index, event.array)
            client.received(record.job, event.index)
        case messages.Done():
            record.used = list(event.used)
            note_report(take, event)
        case _:
            raise_bad_end(event)


def note_report(take: Take, done: messages.Done) -> None:
    """What a job said of itself, into the take."""
    take.record.timings.update({f"backend {name}": seconds for name, seconds in done.timings.items()})
    take.record.versions.update(done.versions)
    for sentence in done.notes:
        take.note(sentence)


def raise_bad_end(event: messages.Message) -> None:
    """GenerationError or Cancelled where an event is such an end of its job."""
    match event:
        case messages.Failed(kind=kind) if kind in GONE:
            raise BackendGone(event)
        case messages.Failed():
            raise GenerationError(event.message, event.fix, event.action)
        case messages.Refused():
            raise GenerationError(event.message, event.fix)
        case messages.Cancelled():
            raise Cancelled("The generation was cancelled.")


def _finish(take: Take, began: float) -> Iterator[None]:
    started = time.monotonic()
    take.record.timings["generation"] = started - began
    yield from take.writing_video()
    take.record.timings["video"] = time.monotonic() - started
    take.set_state("done")


def _incomplete(take: Take) -> GenerationError:
    missing = take.missing_frames()
    return GenerationError(
        f"The backend finished without {len(missing)} of {take.record.request.frames} frames.",
        f"Run das generate {take.folder} again to fetch them.",
        "resume_take",
    )
