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
from contextlib import suppress
from pathlib import Path

import msgspec
import zmq
import zmq.asyncio
from zmq.auth.asyncio import AsyncioAuthenticator

from ..shared import logs, messages, wire
from ..shared.errors import DasError
from ..shared.private_file import NotPrivate
from ..shared.processes import pid_alive
from . import refusals
from .jobs import Jobs
from .leases import Leases
from .limits import ANSWERS_A_SECOND, ANSWERS_AT_ONCE, MAX_CLIENTS, TokenBucket, message_bytes
from .listening import REMOTE_NAME, bind_any_port, for_other_machines, for_this_machine, is_remote
from .machine import ThisMachine
from .pruning import Pruning
from .queue import Queue
from .session import Session
from .worker_line import Device, Site, WorkerLine
from .worker_process import WorkerProcess

SECONDS_BETWEEN_TICKS = 0.5
SECONDS_BETWEEN_PRUNINGS = 3600.0
SECONDS_FOR_WORKER = 60.0
SEND_AHEAD = 4000  # messages of a client that does not read, at most

log = logging.getLogger(__name__)


class Options(msgspec.Struct, kw_only=True, frozen=True):
    """``lease_seconds`` None: runs until it is stopped, otherwise only while somebody needs it. ``logs`` is kept small.
    ``workers`` None: one a card."""

    connection_file: Path
    spool: Path
    host: str = "127.0.0.1"
    lease_seconds: float | None = None
    logs: Path | None = None
    workers: int | None = None


class _OneKey:
    """Lets one public key in; the form that pyzmq's authenticator asks for."""

    def __init__(self, public: str):
        self._public = public.encode()

    def callback(self, domain: str, key: bytes) -> bool:
        return hmac.compare_digest(key, self._public)


class Server:
    """The backend's server, with its workers on ``site``, or on this machine. :meth:`run` returns when it is stopped or no
    longer needed."""

    def __init__(self, options: Options, site: Site | None = None, clock: Callable[[], float] = time.monotonic):
        self.stopping = asyncio.Event()
        self._options = options
        self._clock = clock
        self._leases = Leases(options.lease_seconds, clock)
        self._sessions: dict[bytes, Session] = {}
        self._strangers = TokenBucket(ANSWERS_A_SECOND, ANSWERS_AT_ONCE, clock)
        self._message_bytes = message_bytes()
        self._server_keys, self._client_keys, self._worker_keys = (wire.make_keys() for _ in range(3))
        options.spool.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._queue = Queue(options.spool / "queue.sqlite")
        self._context = zmq.asyncio.Context()
        self._clients = self._context.socket(zmq.ROUTER)
        self._workers = self._context.socket(zmq.ROUTER)
        self.jobs = Jobs(self._queue, options.spool, self._send, site or ThisMachine(self._start_worker, options.workers))
        self._running = self.jobs.running
        self._pruning = Pruning(self._queue, options.spool, lambda job: self.jobs.deliveries.get(job) is not None)

    async def run(self) -> None:
        """Serve. The connection file is there while, and only while, somebody can connect."""
        authenticator = AsyncioAuthenticator(self._context)
        authenticator.start()
        authenticator.configure_curve_callback("clients", _OneKey(self._client_keys[0]))
        authenticator.configure_curve_callback("workers", _OneKey(self._worker_keys[0]))
        try:
            self._bind()
            self._pruning.at_start()
            self._running.recover()
            self._running.workers.start()
            await self._serve()
        finally:
            self._withdraw()
            for client in list(self._sessions):
                await self._send(client, messages.Stopping())
            await self._running.stop()
            for router in (self._clients, self._workers):
                router.close(linger=500)
            authenticator.stop()
            self._queue.close()
            self._context.term()

    async def _serve(self) -> None:
        loops = (self._hear_clients(), self._hear_workers(), self._tick(), self._keep_house(), self._publish())
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
        self.port = bind_any_port(self._clients, self._options.host)
        self._worker_port = bind_any_port(self._workers, "127.0.0.1")

    async def _publish(self) -> None:
        """Write the connection file once the worker has said what it can do."""
        try:
            await asyncio.wait_for(self._running.workers.known.wait(), SECONDS_FOR_WORKER)
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
        wire.write_connection(for_this_machine(connection), self._options.connection_file)
        log.info("ready on %s", connection.address)
        if is_remote(self._options.host):
            wire.write_connection(for_other_machines(connection), self._copy)
            log.warning(
                "other machines can reach this backend: whoever has %s can use it as you can, so copy it by a safe way only", self._copy
            )

    @property
    def _copy(self) -> Path:
        return self._options.connection_file.with_name(REMOTE_NAME)

    def _withdraw(self) -> None:
        for file in (self._options.connection_file, self._copy):
            with suppress(NotPrivate):  # somebody has changed it since; its keys are worth nothing from now on
                published = wire.read_connection(file)
                if published and published.server_public == self._server_keys[0]:
                    file.unlink(missing_ok=True)

    # ---- clients

    async def _hear_clients(self) -> None:
        while True:
            client, *frames = await self._clients.recv_multipart(copy=False)
            await self._sort(bytes(client), frames)
            await asyncio.sleep(0)  # what is there already is received without a pause: the others' turn

    async def _sort(self, client: bytes, frames: list[zmq.Frame]) -> None:
        """Heartbeats and greetings are answered at once, everything else by the client's own task in its order.

        Who speaks too fast is not answered here, and slowed down there.
        """
        session = self._sessions.get(client)
        if session:
            session.heard = self._clock()
        pace = session.pace if session else self._strangers
        try:
            message = wire.outline(frames, messages.ToServer)
        except wire.Malformed as error:
            if pace.take():
                await self._send(client, refusals.refused(error))
            return
        if session and not isinstance(message, (messages.Hello, messages.Heartbeat)):
            await self._queue_up(session, message, frames)
        elif not pace.take():
            return
        elif isinstance(message, messages.Hello):
            await self._greet(client, message)
        elif session is None:
            await self._send(client, refusals.NO_SESSION)
        elif not message.answer:
            await self._send(client, messages.Heartbeat(number=message.number, answer=True))

    async def _queue_up(self, session: Session, message: messages.Message, frames: list[zmq.Frame]) -> None:
        waiting, length = sum(each.waiting_bytes for each in self._sessions.values()), wire.size(frames)
        to, job = message.__struct_config__.tag, getattr(message, "job", "")
        if length > self._message_bytes:
            await self._send(session.client, refusals.refused(refusals.too_large(length, self._message_bytes), to, job))
        elif session.full or waiting + length > self._message_bytes:
            await self._send(session.client, msgspec.structs.replace(refusals.BUSY, to=to, job=job))
        else:
            session.put(message, frames)

    async def _greet(self, client: bytes, hello: messages.Hello) -> None:
        if hello.protocol != messages.PROTOCOL_VERSION:
            await self._send(client, refusals.other_protocol(hello))
            return
        if client not in self._sessions and len(self._sessions) >= MAX_CLIENTS:
            await self._send(client, msgspec.structs.replace(refusals.BUSY, to="hello", message="Too many clients are connected."))
            return
        if client in self._sessions:
            self._sessions.pop(client).task.cancel()
        session = self._sessions[client] = Session(client, hello, self._clock())
        session.task = asyncio.create_task(self._attend(session))
        self._leases.take(client)
        log.info("%s (process %d) has connected", session.name, hello.pid)
        await self._send(
            client,
            messages.Welcome(
                protocol=messages.PROTOCOL_VERSION,
                package=package_version(),
                pid=os.getpid(),
                engines=self._running.workers.engines,
                lease_seconds=self._options.lease_seconds or 0.0,
                workers=self._running.workers.infos,
            ),
        )

    async def _attend(self, session: Session) -> None:
        """One client's messages, one after the other."""
        while self._sessions.get(session.client) is session:  # its last message may have ended it
            message, frames = await session.get()
            kind, job = message.__struct_config__.tag, getattr(message, "job", "")
            try:
                await self._act(session, message, frames)
            except DasError as error:
                await self._send(session.client, refusals.refused(error, kind, job))
            except Exception as error:  # a defect of ours must not end the server
                log.exception("%s failed", kind)
                await self._send(session.client, refusals.internal(error, kind, job))
            finally:
                session.done(frames)

    async def _act(self, session: Session, message: messages.Message, frames: list[zmq.Frame]) -> None:
        client, jobs = session.client, self.jobs
        match message:
            case messages.Submit():
                jobs.judge(message, session.owner)
                whole = await asyncio.to_thread(wire.decode, frames, messages.ToServer)
                await self._send(client, await jobs.submit(whole, client, session.name, session.owner))
                await jobs.deliver(message.job)
                await self._running.run_next()
            case messages.Cancel():
                await jobs.cancel(message.job, client)
            case messages.Status():
                await self._send(client, jobs.status(message.job))
            case messages.List():
                await self._send(client, jobs.list())
            case messages.Reorder():
                await self._send(client, jobs.reorder(message.job, message.position))
            case messages.Retry():
                await self._send(client, await jobs.retry(message.job, client))
                await jobs.deliver(message.job)
                await self._running.run_next()
            case messages.Attach():
                await self._send(client, await jobs.attach(message.job, client, message.have))
                await jobs.deliver(message.job)
            case messages.Received():
                await jobs.received(message.job, message.index, client)
            case messages.ReleaseMemory():
                if answer := await self._running.release_memory(client):
                    await self._send(client, answer)
            case messages.Release():
                log.info("%s has gone", session.name)
                self._leases.release(client)
                self._end_session(client)
            case messages.Shutdown():
                self.stopping.set()

    def _end_session(self, client: bytes) -> None:
        session = self._sessions.pop(client)
        self.jobs.deliveries.forget_client(client)
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

    def _start_worker(self, device: Device) -> WorkerLine:
        address = f"tcp://127.0.0.1:{self._worker_port}"
        return WorkerProcess(device, self._order, address, self._server_keys[0], *self._worker_keys)

    async def _hear_workers(self) -> None:
        while True:
            name, *frames = await self._workers.recv_multipart(copy=False)
            try:
                message = wire.decode(frames, messages.FromWorker)
            except wire.Malformed as error:
                log.error("a worker sent no message: %s", error)
                continue
            try:
                await self._running.hear(bytes(name), message)
            except Exception:  # a defect of ours must not end the server
                log.exception("a worker's %s failed", type(message).__name__)

    async def _order(self, name: bytes, message: messages.Message) -> None:
        await self._workers.send_multipart([name, *wire.encode(message)])

    # ---- time

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(SECONDS_BETWEEN_TICKS)
            try:
                await self._probe()
                await self.jobs.deliveries.pump()
                await self._running.tick()
            except Exception:  # a defect of ours must not end the server
                log.exception("a tick failed")
            if not self._leases.needed():
                log.info("nobody needs the backend any more")
                self.stopping.set()

    async def _keep_house(self) -> None:
        while True:
            try:
                await self._pruning.prune()
                if self._options.logs:
                    await asyncio.to_thread(logs.turn, self._options.logs)
            except Exception:  # a defect of ours must not end the server
                log.exception("the spool was not pruned")
            await asyncio.sleep(SECONDS_BETWEEN_PRUNINGS)

    async def _probe(self) -> None:
        """Sound out silent clients. ZeroMQ's own heartbeat, which a busy main thread does not hold up, drops the
        connection of one that is dead; then the probe finds nobody. A client on this machine is sounded out as soon as its
        process seems gone: it may only be out of our sight, in a container."""
        now = self._clock()
        for session in list(self._sessions.values()):
            dead = session.pid is not None and not pid_alive(session.pid)
            if now - session.heard < wire.HEARTBEAT_SECONDS and not dead:
                continue
            if await self._send(session.client, messages.Heartbeat()):
                session.heard = now
            elif dead or now - session.heard >= 2 * wire.HEARTBEAT_SECONDS:
                log.info("%s has vanished", session.name)
                self._leases.lose(session.client)
                self._end_session(session.client)


def package_version() -> str:
    """The version of this package, empty where it runs from a tree that is not installed."""
    try:
        return importlib.metadata.version("diffusion_as_shader")
    except importlib.metadata.PackageNotFoundError:
        return ""
