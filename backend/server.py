"""The server: one ROUTER for clients, one for workers, and an event loop that never blocks.

What touches the disk for long runs in threads; each client has an inbox and a task of its own, so that one that
sends much does not make another wait.
"""

from __future__ import annotations

import asyncio
import hmac
import importlib.metadata
import logging
import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from ..shared import messages, wire
from ..shared.errors import DasError
from .jobs import Jobs
from .leases import Leases
from .queue import Queue
from .worker_process import WorkerProcess

SECONDS_BETWEEN_TICKS = 0.5
SECONDS_FOR_WORKER = 60.0
INBOX_MESSAGES = 256
SEND_AHEAD = 4000  # messages of a client that does not read, at most

log = logging.getLogger(__name__)


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """``lease_seconds`` None: runs until it is stopped, otherwise only while somebody needs it."""

    connection_file: Path
    spool: Path
    host: str = "127.0.0.1"
    lease_seconds: float | None = None


class _OneKey:
    """Lets one public key in; the form that pyzmq's authenticator asks for."""

    def __init__(self, public: str):
        self._public = public.encode()

    def callback(self, domain: str, key: bytes) -> bool:
        return hmac.compare_digest(key, self._public)


class Session:
    """A connected client: its name, its inbox, when it was last heard."""

    def __init__(self, client: bytes, hello: messages.Hello, heard: float):
        self.client = client
        self.name = hello.name
        self.heard = heard
        self.inbox: asyncio.Queue = asyncio.Queue(INBOX_MESSAGES)
        self.task: asyncio.Task | None = None


class Server:
    """The backend's server. :meth:`run` returns when it is stopped or no longer needed."""

    def __init__(self, options: Options, clock: Callable[[], float] = time.monotonic):
        self.stopping = asyncio.Event()
        self._options = options
        self._clock = clock
        self._leases = Leases(options.lease_seconds, clock)
        self._sessions: dict[bytes, Session] = {}
        self._server_keys, self._client_keys, self._worker_keys = (wire.make_keys() for _ in range(3))
        options.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._queue = Queue(options.spool / "queue.sqlite")
        self._context = zmq.asyncio.Context()
        self._clients = self._context.socket(zmq.ROUTER)
        self._workers = self._context.socket(zmq.ROUTER)
        self.jobs = Jobs(self._queue, options.spool, self._send, self._order, self._start_worker)

    async def run(self) -> None:
        """Serve. The connection file is there while, and only while, somebody can connect."""
        authenticator = AsyncioAuthenticator(self._context)
        authenticator.start()
        authenticator.configure_curve_callback("clients", _OneKey(self._client_keys[0]))
        authenticator.configure_curve_callback("workers", _OneKey(self._worker_keys[0]))
        try:
            self._bind()
            self.jobs.recover()
            self.jobs.prune(time.time())
            self.jobs.start_worker()
            await self._serve()
        finally:
            self._withdraw()
            await self.jobs.stop()
            for router in (self._clients, self._workers):
                router.close(linger=500)
            authenticator.stop()
            self._queue.close()
            self._context.term()

    async def _serve(self) -> None:
        loops = (self._hear_clients(), self._hear_workers(), self._tick(), self._publish())
        tasks = [asyncio.create_task(loop) for loop in loops]
        stop = asyncio.create_task(self.stopping.wait())
        try:
            while not stop.done():
                ended, _ = await asyncio.wait([*tasks, stop], return_when=asyncio.FIRST_COMPLETED)
                for task in ended - {stop}:
                    task.result()
                    tasks.remove(task)
        finally:
            rest = [*tasks, stop, *(session.task for session in self._sessions.values())]
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

    def _bind(self) -> None:
        self._clients.router_mandatory = self._clients.router_handover = True
        self._clients.sndhwm = SEND_AHEAD
        wire.serve_curve(self._clients, self._server_keys[1], "clients")
        wire.serve_curve(self._workers, self._server_keys[1], "workers")
        self.port = _bind_any_port(self._clients, self._options.host)
        self._worker_port = _bind_any_port(self._workers, "127.0.0.1")

    async def _publish(self) -> None:
        """Write the connection file once the worker has said what it can do."""
        try:
            await asyncio.wait_for(self.jobs.worker_known.wait(), SECONDS_FOR_WORKER)
        except TimeoutError:
            log.error("the worker has not said what it can do within %.0f s", SECONDS_FOR_WORKER)
        connection = wire.ConnectionFile(
            protocol=messages.PROTOCOL_VERSION,
            host=self._options.host,
            port=self.port,
            server_public=self._server_keys[0],
            client_public=self._client_keys[0],
            client_secret=self._client_keys[1],
            pid=os.getpid(),
            machine=socket.gethostname(),
            started=time.time(),
        )
        wire.write_connection(connection, self._options.connection_file)
        log.info("ready on %s", connection.address)

    def _withdraw(self) -> None:
        published = wire.read_connection(self._options.connection_file)
        if published and published.server_public == self._server_keys[0]:
            self._options.connection_file.unlink(missing_ok=True)

    # ---- clients

    async def _hear_clients(self) -> None:
        while True:
            client, *frames = await self._clients.recv_multipart(copy=False)
            await self._sort(bytes(client), frames)

    async def _sort(self, client: bytes, frames: list[zmq.Frame]) -> None:
        """Heartbeats and greetings are answered at once, everything else by the client's own task in its order."""
        session = self._sessions.get(client)
        if session:
            session.heard = self._clock()
        try:
            # What carries arrays is decoded by the client's task, off this loop.
            message = wire.decode(frames, messages.ToServer) if len(frames) < 2 else frames
        except wire.Malformed as error:
            await self._send(client, _refused(error))
            return
        if isinstance(message, messages.Hello):
            await self._greet(client, message)
        elif session is None:
            await self._send(client, _NO_SESSION)
        elif isinstance(message, messages.Heartbeat):
            if not message.answer:
                await self._send(client, messages.Heartbeat(number=message.number, answer=True))
        elif session.inbox.full():
            await self._send(client, _BUSY)
        else:
            session.inbox.put_nowait(message)

    async def _greet(self, client: bytes, hello: messages.Hello) -> None:
        if hello.protocol != messages.PROTOCOL_VERSION:
            await self._send(client, _other_protocol(hello))
            return
        if client in self._sessions:
            self._sessions.pop(client).task.cancel()
        session = self._sessions[client] = Session(client, hello, self._clock())
        session.task = asyncio.create_task(self._attend(session))
        self._leases.take(client)
        log.info("%s (process %d) has connected", hello.name, hello.pid)
        await self._send(
            client,
            messages.Welcome(
                protocol=messages.PROTOCOL_VERSION,
                package=package_version(),
                pid=os.getpid(),
                engines=self.jobs.engines,
                lease_seconds=self._options.lease_seconds or 0.0,
            ),
        )

    async def _attend(self, session: Session) -> None:
        """One client's messages, one after the other."""
        while True:
            message = await session.inbox.get()
            kind = job = ""
            try:
                if isinstance(message, list):
                    message = await asyncio.to_thread(wire.decode, message, messages.ToServer)
                kind, job = message.__struct_config__.tag, getattr(message, "job", "")
                await self._act(session, message)
            except DasError as error:
                await self._send(session.client, _refused(error, kind, job))
            except Exception as error:  # a defect of ours must not end the server
                log.exception("%s failed", kind or "a message")
                await self._send(session.client, _internal(error, kind, job))

    async def _act(self, session: Session, message: messages.Message) -> None:
        client, jobs = session.client, self.jobs
        match message:
            case messages.Submit():
                await self._send(client, await jobs.submit(message, client, session.name))
                await jobs.deliver(message.job)
                await jobs.run_next()
            case messages.Cancel():
                await jobs.cancel(message.job)
            case messages.Status():
                await self._send(client, jobs.status(message.job))
            case messages.List():
                await self._send(client, jobs.list())
            case messages.Reorder():
                await self._send(client, jobs.reorder(message.job, message.position))
            case messages.Retry():
                await self._send(client, await jobs.retry(message.job, client))
                await jobs.deliver(message.job)
                await jobs.run_next()
            case messages.Attach():
                await self._send(client, await jobs.attach(message.job, client, message.have))
                await jobs.deliver(message.job)
            case messages.Received():
                await jobs.received(message.job, message.index, client)
            case messages.ReleaseMemory():
                if answer := await jobs.release_memory(client):
                    await self._send(client, answer)
            case messages.Release():
                log.info("%s has gone", session.name)
                self._leases.release(client)
                self._end_session(client)
            case messages.Shutdown():
                for each in self._sessions:
                    await self._send(each, messages.Stopping())
                self.stopping.set()

    def _end_session(self, client: bytes) -> None:
        session = self._sessions.pop(client)
        self.jobs.forget_client(client)
        if not self._leases.needed():
            self.stopping.set()
        session.task.cancel()

    async def _send(self, client: bytes, message: messages.Message) -> bool:
        """False where the client is gone, or takes nothing more for now."""
        try:
            await self._clients.send_multipart([client, *wire.encode(message)], zmq.NOBLOCK, copy=False)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        return True

    # ---- workers

    def _start_worker(self) -> WorkerProcess:
        address = f"tcp://127.0.0.1:{self._worker_port}"
        return WorkerProcess(address, self._server_keys[0], *self._worker_keys)

    async def _hear_workers(self) -> None:
        while True:
            name, *frames = await self._workers.recv_multipart(copy=False)
            try:
                message = wire.decode(frames, messages.FromWorker)
            except wire.Malformed as error:
                log.error("a worker sent no message: %s", error)
                continue
            if self.jobs.worker and bytes(name) == self.jobs.worker.name:
                try:
                    await self.jobs.hear(message)
                except Exception:  # a defect of ours must not end the server
                    log.exception("a worker's %s failed", type(message).__name__)

    async def _order(self, name: bytes, message: messages.Message) -> None:
        await self._workers.send_multipart([name, *wire.encode(message)])

    # ---- time

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_TICKS)
            await self._probe()
            await self.jobs.pump()
            self.jobs.check_worker()
            if not self._leases.needed():
                log.info("nobody needs the backend any more")
                self.stopping.set()

    async def _probe(self) -> None:
        """Sound out silent clients. ZeroMQ's own heartbeat, which a busy main thread does not hold up, drops the
        connection of one that is dead; then the probe finds nobody."""
        now = self._clock()
        for session in list(self._sessions.values()):
            if now - session.heard < wire.HEARTBEAT_SECONDS:
                continue
            if await self._send(session.client, messages.Heartbeat()):
                session.heard = now
            elif now - session.heard >= 2 * wire.HEARTBEAT_SECONDS:
                log.info("%s has vanished", session.name)
                self._leases.lose(session.client)
                self._end_session(session.client)


def _bind_any_port(router: zmq.Socket, host: str) -> int:
    """The system chooses the port as it binds, so no other process can take it in between."""
    router.bind(f"tcp://{host}:0")
    return int(router.last_endpoint.rpartition(b":")[2])


def package_version() -> str:
    """The version of this package, empty where it runs from a tree that is not installed."""
    try:
        return importlib.metadata.version("diffusion_as_shader")
    except importlib.metadata.PackageNotFoundError:
        return ""


_NO_SESSION = messages.Refused(
    kind="no_session", message="The backend does not know this client any more.", fix="Connect again."
)
_BUSY = messages.Refused(kind="busy", message="The client sends faster than the backend works.", fix="Wait a little.")


def _refused(error: DasError, to: str = "", job: str = "") -> messages.Refused:
    return messages.Refused(to=to, job=job, kind=error.kind, message=error.message, fix=error.fix)


def _internal(error: Exception, to: str, job: str) -> messages.Refused:
    return messages.Refused(
        to=to,
        job=job,
        kind="internal",
        message=f"The backend met an error of its own: {type(error).__name__}: {error}.",
        fix="Report it with logs/backend.log of the DAS_HOME folder.",
    )


def _other_protocol(hello: messages.Hello) -> messages.Refused:
    return messages.Refused(
        to="hello",
        kind="protocol_version",
        message=f"The backend speaks protocol {messages.PROTOCOL_VERSION} and the client {hello.protocol}.",
        fix=wire.OTHER_PROTOCOL_FIX,
    )

