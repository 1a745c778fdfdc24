"""Every message of the protocol, as typed structs. docs/protocol.md says when each is sent.

A message is told apart by its field ``type``. Unknown fields are ignored on both sides, so a field may be added
within a protocol version; a change of meaning needs a new PROTOCOL_VERSION. Only ``Hello``, ``Welcome`` and
``Refused`` are the same in all versions: through them two sides can tell that they do not fit.
"""

from __future__ import annotations

import re
from typing import Annotated, Literal

import msgspec
import numpy as np

from .control_score import ControlScore
from .request import MAX_FRAMES, GenerationRequest

PROTOCOL_VERSION = 1
EMPTY = np.zeros(0, np.uint8)

# A uuid4 in hex: safe as a folder's name. The length is there because $ also matches before a last line feed.
JobId = Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32}$", max_length=32)]
Index = Annotated[int, msgspec.Meta(ge=0, lt=MAX_FRAMES)]
Place = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
ProcessId = Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
Line = Annotated[str, msgspec.Meta(max_length=200)]
Name = Annotated[str, msgspec.Meta(pattern="^[A-Za-z_]{1,40}$", max_length=40)]  # safe as a part of a file's name
WorkKind = Literal["generate", "prepare", "score"]  # an engine makes frames; a task the signals of a take; frames are measured
JobState = Literal["queued", "running", "done", "failed", "cancelled"]
FINAL_STATES = ("done", "failed", "cancelled")


def _tag(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


class Message(msgspec.Struct, kw_only=True, tag_field="type", tag=_tag):
    """The base of all messages."""


class EngineInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What an engine can do on the backend's machine. ``uses`` are signals beyond tracking and first_frame."""

    name: str
    title: str = ""
    available: bool = True
    reason: str = ""
    fix: str = ""
    device: str = "cpu"
    prompt: bool = False
    preview: bool = False
    resumes: bool = False  # leaves out the frames that an earlier attempt has made; otherwise all are made anew
    uses: list[str] = []
    frames: list[int] = []  # the only counts it can make; empty: any
    sizes: list[tuple[int, int]] = []  # the only sizes (width, height) it can make; empty: any
    notes: list[str] = []

    def unfit(self, request: GenerationRequest) -> Literal["", "unavailable", "frames", "size"]:
        """What keeps the engine from doing a request, if anything. With weights of the request's own the engine judges itself,
        once it has looked at them."""
        if request.weights:
            return ""
        if not self.available:
            return "unavailable"
        if self.frames and request.frames not in self.frames:
            return "frames"
        return "size" if self.sizes and (request.width, request.height) not in self.sizes else ""


WorkerState = Literal["starting", "idle", "working", "gone"]


class WorkerInfo(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A worker of the backend: the card or processor that it has, what it does, and bytes of the card's memory, 0 where unknown."""

    device: str
    state: WorkerState
    job: str = ""
    memory: int = 0
    free: int = 0


class JobInfo(msgspec.Struct, kw_only=True):
    """A job as the queue has it. ``position`` counts waiting jobs from 0, -1 for others; times are Unix seconds, 0 for never.

    ``owner`` is the process of its client, with which others take turns. ``attempts`` counts how often it was begun,
    ``notes`` says what became of those that did not come to their end.
    """

    job: JobId
    state: JobState
    title: str
    engine: str
    frames: int
    work: WorkKind = "generate"
    position: int = -1
    client: str = ""
    owner: str = ""
    created: float = 0.0
    begun: float = 0.0
    updated: float = 0.0
    attempts: int = 0
    notes: list[str] = []
    progress: Progress | None = None
    failure: Failed | None = None


# ---- client to server


class Hello(Message):
    """The first message of a client; answered by Welcome or Refused. Its lease begins here."""

    protocol: int
    package: Line = ""
    name: Line = ""
    pid: ProcessId = 0
    host: Line = ""


class Submit(Message):
    """A job; answered by Accepted once it would survive a crash. ``signals`` are those of DESIGN's table, or to prepare a
    take the inputs of its task (:mod:`task_signals`)."""

    job: JobId
    request: GenerationRequest
    signals: dict[str, np.ndarray]
    title: Line = ""
    work: WorkKind = "generate"


class Cancel(Message):
    """Stop a queued or running job; Cancelled follows."""

    job: JobId


class Status(Message):
    """Ask for one job; answered by Job."""

    job: JobId


class List(Message):
    """Ask for all jobs; answered by Jobs."""


class Reorder(Message):
    """Move a waiting job to ``position`` (0 runs next); answered by Jobs."""

    job: JobId
    position: Place


class Retry(Message):
    """Queue a failed or cancelled job again; answered by Accepted."""

    job: JobId


class Attach(Message):
    """Take a job over: send me all frames but ``have``. Answered by Job, then the frames and how it ended."""

    job: JobId
    have: Annotated[list[Index], msgspec.Meta(max_length=MAX_FRAMES)] = []


class Received(Message):
    """A frame is safe with the client; the server drops it from its spool."""

    job: JobId
    index: Index


class Release(Message):
    """The client goes: its lease ends now."""


class ReleaseMemory(Message):
    """Let go of what engines keep loaded for the next job, as a render of this machine may need it. Answered by MemoryReleased.

    The server passes it on to the worker, which answers the same.
    """


class Shutdown(Message):
    """Stop the backend: the running job goes back into the queue. Answered by Stopping."""


# ---- both ways


class Heartbeat(Message):
    """A sign of life; the receiver of ``answer=False`` sends the same number back with ``answer=True``."""

    number: int = 0
    answer: bool = False


# ---- server to client


class Welcome(Message):
    """The answer to a Hello of our protocol version."""

    protocol: int
    package: str
    pid: int
    engines: list[EngineInfo] = []
    lease_seconds: float = 10.0
    workers: list[WorkerInfo] = []


class Refused(Message):
    """A message was not acted on. ``to`` is its type, ``kind`` for programs, ``message`` and ``fix`` for people."""

    kind: str
    message: str
    fix: str = ""
    to: str = ""
    job: str = ""


class Accepted(Message):
    """A job is in the queue, durably."""

    job: JobId
    position: int = 0


class Job(Message):
    """The answer to Status and Attach."""

    info: JobInfo


class Jobs(Message):
    """The answer to List and Reorder: running, waiting in their order, then ended ones, newest first."""

    jobs: list[JobInfo]


class MemoryReleased(Message):
    """The answer to ReleaseMemory: ``released`` once nothing is kept, False where a job runs, which keeps what it has."""

    released: bool = True


class Stopping(Message):
    """The backend ends."""


# ---- a job's events; the worker sends the same to the server


class Progress(Message):
    """``step`` of ``total`` of a phase is done; ``eta`` in seconds to the end of the phase, None while unknown."""

    job: JobId
    phase: str
    step: int
    total: int
    eta: float | None = None


class Preview(Message):
    """A coarse look at the whole: ``array`` u8 [T',H',W',3]."""

    job: JobId
    array: np.ndarray


class Frame(Message):
    """Result ``index`` from 0: ``array`` u8 [H,W,3]. From worker to server it has none: the spool does."""

    job: JobId
    index: Index
    array: np.ndarray = EMPTY


class Signal(Message):
    """Result ``index`` of a job that prepares a take: ``array`` is the signal ``name`` (:mod:`task_signals`). From worker to
    server it has none, as a Frame."""

    job: JobId
    index: Index
    name: Name
    array: np.ndarray = EMPTY


class Done(Message):
    """The job has ended well, after its last frame, or its last signal, of which ``signals`` are the names in order."""

    job: JobId
    signals: list[Name] = []
    used: list[str] = []
    notes: list[str] = []
    timings: dict[str, float] = {}
    versions: dict[str, str] = {}
    score: ControlScore | None = None  # of a job that measures frames


class Failed(Message):
    """The job has ended badly."""

    job: JobId
    kind: str
    message: str
    fix: str = ""
    action: str = ""  # as of DasError


class Cancelled(Message):
    """The job was cancelled."""

    job: JobId


# ---- server and worker


class Ready(Message):
    """The worker's first message: what its engines can do. One elsewhere says where it is, and its card's memory in bytes."""

    pid: int
    engines: list[EngineInfo]
    place: str = ""
    memory: int = 0


class Work(Message):
    """Run a job: its signals lie in ``folder`` as .npy files, its frames go there (see backend/spool.py).

    Frames ``have`` were made by an attempt before and need not be made again.
    """

    job: JobId
    request: GenerationRequest
    folder: str
    work: WorkKind = "generate"
    have: list[Index] = []


class Stop(Message):
    """Stop this job now; the worker answers Cancelled."""

    job: JobId


ToServer = Hello | Submit | Cancel | Status | List | Reorder | Retry | Attach | Received | Release | ReleaseMemory | Shutdown | Heartbeat
JobEvent = Progress | Preview | Frame | Signal | Done | Failed | Cancelled
ToClient = Welcome | Refused | Accepted | Job | Jobs | MemoryReleased | Stopping | Heartbeat | JobEvent
FromWorker = Ready | MemoryReleased | JobEvent
ToWorker = Work | Stop | ReleaseMemory
