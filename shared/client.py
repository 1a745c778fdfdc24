"""The client of a backend: connect, submit, listen, cancel.

Nothing here blocks but :func:`connect`, :meth:`Client.wait`, and the questions that have a ``timeout``; each has its
bound. ZeroMQ's own IO thread sends and receives meanwhile, so calls may come from a timer tick of Blender.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from collections import defaultdict, deque
from collections.abc import Callable, Iterator

import numpy as np
import zmq

from . import messages, wire
from .errors import BackendError, DasError, UsageError
from .processes import pid_alive
from .request import GenerationRequest
from .steps import returned

SECONDS_TO_ANSWER = 10.0
SECONDS_BETWEEN_POLLS = 0.05
SECONDS_TO_HEAR = 0.005
LOST_FIX = "Run it again: a new backend is started by itself and goes on where it was. logs/backend.log in the DAS_HOME folder says what happened."


def connect(connection: wire.ConnectionFile, name: str, timeout: float = SECONDS_TO_ANSWER) -> Client:
    """A client that the backend has welcomed. BackendError where none answers, or one of another protocol."""
    for client in connecting(connection, name, timeout):
        if client is not None:
            return client
        time.sleep(SECONDS_BETWEEN_POLLS / 5)
    raise AssertionError("connecting() ends with a client or an error")


def connecting(connection: wire.ConnectionFile, name: str, timeout: float = SECONDS_TO_ANSWER) -> Iterator[Client | None]:
    """As :func:`connect` in steps that do not block: None until the last one, which is the client."""
    if connection.protocol != messages.PROTOCOL_VERSION:
        raise _other_protocol(connection.protocol)
    client = Client(connection, name)
    try:
        end = time.monotonic() + timeout
        while client.welcome is None:
            client.hear()
            if client.refusal:
                raise BackendError(client.refusal.message, client.refusal.fix, "restart_backend")
            if client.welcome is None:
                if time.monotonic() > end or client.is_gone():
                    raise BackendError(
                        f"The backend at {connection.address} does not answer.",
                        f"Try again; if it stays so, end the process {connection.pid} first."
                        if connection.is_local
                        else "Copy the connection file of das serve again: its keys are made anew at each start.",
                        "restart_backend" if connection.is_local else "show_preferences",
                    )
                yield None
    except BaseException:
        client.abandon()
        raise
    yield client


class Client:
    """One connection, holding one lease until :meth:`close`. Make it with :func:`connect`."""

    def __init__(self, connection: wire.ConnectionFile, name: str, clock: Callable[[], float] = time.monotonic):
        self.name = name
        self.welcome: messages.Welcome | None = None
        self.refusal: messages.Refused | None = None
        self.jobs: list[messages.JobInfo] = []  # the latest listing that has arrived
        self._connection = connection
        self._clock = clock
        self._events: defaultdict[str, list[messages.Message]] = defaultdict(list)
        self._open: set[str] = set()  # jobs that events are expected of
        self._answers: deque[messages.Message] = deque(maxlen=8)  # of questions nobody waits for, too
        self._lost = self._stopped = False
        self._number, self._unanswered, self._beat = 0, {}, clock()
        self._arriving, self._unheard = self._arrive(), False  # more has arrived than was taken in
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        wire.join_curve(self._socket, connection.server_public, connection.client_public, connection.client_secret)
        self._socket.routing_id = uuid.uuid4().hex.encode()
        self._socket.rcvhwm = 0  # the server bounds what is on its way; nothing of it may be dropped here
        self._socket.ipv6 = connection.is_ipv6
        self._socket.connect(connection.address)
        host = socket.gethostname()[:200] if connection.is_local else ""  # our process id means nothing elsewhere
        self._send(messages.Hello(protocol=messages.PROTOCOL_VERSION, name=name[:200], pid=os.getpid(), host=host))

    @property
    def engines(self) -> list[messages.EngineInfo]:
        """What the backend's engines can do."""
        return self.welcome.engines

    # ---- a job

    def submit(
        self,
        job: str,
        request: GenerationRequest,
        signals: dict[str, np.ndarray],
        title: str = "",
        work: messages.WorkKind = "generate",
    ) -> None:
        """Hand a job over. Accepted follows as an event once it would survive a crash, or Failed.

        The arrays are not copied: they must not be written to before Accepted.
        """
        self._open.add(job)
        self._send(messages.Submit(job=job, request=request, signals=signals, title=title[:200], work=work))

    def events(self, job: str) -> list[messages.Message]:
        """What has arrived of a job since the last call: Accepted, Progress, Preview, Frame, Signal, Done, Failed, Cancelled.

        A backend that is gone ends every job at hand with Failed(kind='backend_lost'), once, or 'backend_stopped' where it
        has said that it ends.
        """
        self.hear()
        if self._lost and not self._unheard and job in self._open and not self._events[job]:
            self._open.discard(job)
            kind, said = ("backend_stopped", "was stopped") if self._stopped else ("backend_lost", "has gone")
            return [messages.Failed(job=job, kind=kind, message=f"The backend {said}.", fix=LOST_FIX)]
        return self._events.pop(job, [])

    def wait(self, job: str, timeout: float) -> bool:
        """Wait until :meth:`events` has something of a job, at most ``timeout`` seconds; whether it has."""
        return self._until(lambda: bool(self._events.get(job)), timeout)

    def cancel(self, job: str) -> None:
        """Stop a job; Cancelled follows as an event."""
        self._send(messages.Cancel(job=job))

    def retry(self, job: str) -> None:
        """Queue a failed or cancelled job again; Accepted follows as an event, or Failed."""
        self._open.add(job)
        self._send(messages.Retry(job=job))

    def attach(self, job: str, have: list[int], timeout: float = SECONDS_TO_ANSWER) -> messages.JobInfo:
        """Take a job over: all frames but ``have`` follow, and how it ended.

        UsageError where the backend no longer has the job or its frames, BackendError where it does not answer.
        """
        return returned(self.attaching(job, have, patience=timeout, timeout=timeout))

    def attaching(self, job: str, have: list[int], patience: float = 0.0, timeout: float = SECONDS_TO_ANSWER):
        """As :meth:`attach` in steps that wait at most ``patience`` seconds: None until the answer, which is returned."""
        self._open.add(job)
        try:
            return (yield from self._asking(messages.Attach(job=job, have=have), messages.Job, timeout, patience)).info
        except DasError:
            self._open.discard(job)
            raise

    def received(self, job: str, index: int) -> None:
        """Frame ``index`` is safe here: the backend need not keep it."""
        self._send(messages.Received(job=job, index=index))

    # ---- the queue

    def status(self, job: str, timeout: float = SECONDS_TO_ANSWER) -> messages.JobInfo:
        """A job as the queue has it; UsageError where it has none of this id."""
        return returned(self.looking_up(job, patience=timeout, timeout=timeout))

    def looking_up(self, job: str, patience: float = 0.0, timeout: float = SECONDS_TO_ANSWER):
        """As :meth:`status` in steps that wait at most ``patience`` seconds: None until the answer, which is returned."""
        return (yield from self._asking(messages.Status(job=job), messages.Job, timeout, patience)).info

    def list(self, timeout: float = SECONDS_TO_ANSWER) -> list[messages.JobInfo]:
        """All jobs, also of other clients."""
        return self._ask(messages.List(), messages.Jobs, timeout).jobs

    def refresh(self) -> None:
        """Ask for all jobs without waiting; ``jobs`` has them once they have arrived."""
        self._send(messages.List())

    def reorder(self, job: str, position: int, timeout: float = SECONDS_TO_ANSWER) -> list[messages.JobInfo]:
        """Move a waiting job, 0 to run next; all jobs."""
        return self._ask(messages.Reorder(job=job, position=position), messages.Jobs, timeout).jobs

    def move(self, job: str, position: int) -> None:
        """As :meth:`reorder` without waiting; ``jobs`` has them once they have arrived."""
        self._send(messages.Reorder(job=job, position=position))

    # ---- the engines

    def release_memory(self, timeout: float = SECONDS_TO_ANSWER) -> bool:
        """Let the backend give back the memory that it keeps for the next job; False where a job runs and needs it."""
        return self._ask(messages.ReleaseMemory(), messages.MemoryReleased, timeout).released

    # ---- the connection

    def close(self) -> None:
        """End the lease and the connection. May be called twice."""
        if not self._socket.closed:
            self._send(messages.Release())
            self._end(linger=0 if self.is_gone() else 500)

    def shutdown(self) -> None:
        """Ask the backend to stop, whoever else uses it, and close."""
        self._send(messages.Shutdown())
        self._end(linger=500)

    def abandon(self) -> None:
        """Close without a word, as a crash would."""
        self._end(linger=0)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *error) -> None:
        self.close()

    def is_gone(self) -> bool:
        """The backend has ended, said so, or has been silent for too long."""
        if not self._lost and self._connection.is_local:
            self._lost = not pid_alive(self._connection.pid)
        return self._lost

    def hear(self) -> None:
        """Take in what has arrived, of much a part, and keep the lease alive. Neither blocks nor takes long."""
        if self._socket.closed:
            return
        end, self._unheard = time.monotonic() + SECONDS_TO_HEAR, True
        while self._unheard and time.monotonic() < end:
            self._unheard = next(self._arriving) > 0
        now = self._clock()
        if now - self._beat >= wire.HEARTBEAT_SECONDS:
            self._beat = now
            self._number += 1
            self._unanswered[self._number] = now
            self._send(messages.Heartbeat(number=self._number))
            self.is_gone()
        # Judged after reading: a main thread that was away for long finds the answers in its queue.
        if not self._unheard and self._unanswered and now - min(self._unanswered.values()) > wire.SILENCE_SECONDS:
            self._lost = True

    def _arrive(self) -> Iterator[int]:
        """For ever: how many bytes were taken in, a chunk of an array at most; 0 where nothing has arrived."""
        while True:
            if not self._socket.poll(0):
                yield 0
                continue
            frames = self._socket.recv_multipart(copy=False)
            try:
                message = yield from wire.decoding(frames, messages.ToClient)
            except wire.Malformed as error:
                # Only a backend of another version says what we do not understand, or before it was asked Hello.
                self.refusal = messages.Refused(kind=error.kind, message=error.message, fix=wire.OTHER_PROTOCOL_FIX)
                continue
            self._take_in(message)
            yield len(frames[0])

    def _take_in(self, message: messages.Message) -> None:
        match message:
            case messages.Welcome():
                self.welcome = message
            case messages.Heartbeat(answer=True):
                self._unanswered = {number: at for number, at in self._unanswered.items() if number > message.number}
            case messages.Heartbeat():
                self._send(messages.Heartbeat(number=message.number, answer=True))
            case messages.Stopping():
                self._lost = self._stopped = True
            case messages.Refused():
                self._refused(message)
            case messages.Job() | messages.Jobs() | messages.MemoryReleased():
                self._answers.append(message)
                self.jobs = message.jobs if isinstance(message, messages.Jobs) else self.jobs
            case _:
                self._events[message.job].append(message)
                if isinstance(message, (messages.Done, messages.Failed, messages.Cancelled)):
                    self._open.discard(message.job)

    def _refused(self, refused: messages.Refused) -> None:
        if refused.kind == "no_session":
            self._lost = True
        elif refused.to in ("submit", "retry"):
            self._open.discard(refused.job)
            self._events[refused.job].append(
                messages.Failed(job=refused.job, kind=refused.kind, message=refused.message, fix=refused.fix)
            )
        elif self.welcome is None:
            self.refusal = refused
        else:
            self._answers.append(refused)

    def _ask(self, question: messages.Message, answer: type, timeout: float):
        """Send a question and wait for its answer; its Refused is raised."""
        return returned(self._asking(question, answer, timeout, patience=timeout))

    def _asking(self, question: messages.Message, answer: type, timeout: float, patience: float):
        """As :meth:`_ask` in steps that wait at most ``patience`` seconds: None until the answer, which is returned."""
        self._answers.clear()
        self._send(question)
        end, tag = time.monotonic() + timeout, question.__struct_config__.tag

        def answers() -> list[messages.Message]:
            refused = (messages.Refused,)
            return [each for each in self._answers if isinstance(each, answer) or (isinstance(each, refused) and each.to == tag)]

        while not self._until(lambda: bool(answers()), patience):
            if self._lost or time.monotonic() > end:
                raise BackendError("The backend does not answer.", LOST_FIX, "resume_take")
            yield None
        found = answers()[0]
        if isinstance(found, messages.Refused):
            raise UsageError(found.message, found.fix)
        return found

    def _until(self, happened: Callable[[], bool], timeout: float) -> bool:
        """Listen until something has happened, the time is over, or the backend is gone."""
        end = time.monotonic() + timeout
        while True:
            self.hear()
            if happened():
                return True
            left = end - time.monotonic()
            if left <= 0 or (self._lost and not self._unheard):
                return False
            self._socket.poll(0 if self._unheard else min(left, SECONDS_BETWEEN_POLLS * 10) * 1000)

    def _send(self, message: messages.Message) -> None:
        if self._socket.closed:
            return
        try:
            self._socket.send_multipart(wire.encode(message), zmq.NOBLOCK, copy=False)
        except zmq.Again:
            self._lost = True  # a thousand messages that nobody takes

    def _end(self, linger: int) -> None:
        if not self._socket.closed:
            self._socket.close(linger=linger)
            self._context.term()


def _other_protocol(protocol: int) -> BackendError:
    return BackendError(
        f"The backend speaks protocol {protocol} and this program {messages.PROTOCOL_VERSION}.", wire.OTHER_PROTOCOL_FIX
    )
