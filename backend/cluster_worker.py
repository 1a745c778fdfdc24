"""A worker on a cluster, seen from the server: Ray keeps it alive, brings it signals and brings back its messages."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import ray
from ray.exceptions import ActorUnavailableError, RayError

from ..shared import messages
from ..shared.errors import first_line
from .spool import JobFolder
from .worker import failure
from .worker_line import Hear, WorkerLine
from .worker_socket import Spool

if TYPE_CHECKING:
    from .cluster import Cluster

SECONDS_FOR_REST = 10.0  # for frames of a lost worker that are here already
ON_THEIR_WAY = 8  # messages that a worker is ahead of the server

log = logging.getLogger(__name__)


class ClusterWorker(WorkerLine):
    """The line to an actor as long as its process lives. Ray starts the actor again elsewhere; that is another line.

    A job is never repeated by Ray: the queue does so, which knows what there is of it already.
    """

    def __init__(self, actor: ray.actor.ActorHandle, hear: Hear, cluster: Cluster):
        super().__init__()
        self.over = self.killed = False
        self._actor = actor
        self._hear = hear
        self._cluster = cluster
        self._pid = 0
        self._talks: set[asyncio.Task] = set()

    @property
    def idle(self) -> bool:
        """Without its cluster nothing may be asked of Ray: it might end the process."""
        return super().idle and not self._cluster.lost

    @property
    def pid(self) -> int:
        """On its own machine; 0 until it is ready."""
        return self._pid

    async def order(self, message: messages.Message) -> None:
        match message:
            case messages.Work():
                self._talk(self._run(message))
            case messages.Stop():
                self._actor.stop.remote(message.job)
            case messages.ReleaseMemory():
                self._talk(self._release())

    async def ended(self) -> str:
        try:
            ready = await self._actor.ready.options(max_task_retries=-1).remote()  # until Ray has found a place for it
            self._pid = ready.pid
            await self._say(ready)
            await self._actor.live.remote()
        except RayError as error:
            log.info("worker %s: %s", self._pid, error)
            if isinstance(error, ActorUnavailableError) and not self.killed:  # it may only be out of reach, and still at work
                await asyncio.to_thread(ray.kill, self._actor, no_restart=False)
            how = f"with its machine or by itself ({type(error).__name__})"
        if self._talks:
            await asyncio.wait(self._talks, timeout=SECONDS_FOR_REST)
        await self._cluster.recount()  # what there is now, before another is started
        self.over = True
        return how

    async def stop(self) -> bool:
        """Kill its process, on whichever machine."""
        self.killed = True
        await asyncio.to_thread(ray.kill, self._actor)
        return True

    async def _run(self, work: messages.Work) -> None:
        folder = JobFolder(Path(work.folder))
        try:
            stream = await asyncio.to_thread(self._begin, work, folder)
            async for reference in stream:
                await self._say(await asyncio.to_thread(_spooled, await reference, Spool(folder)))
        except RayError as error:  # ended() tells of it
            log.info("the events of job %s end: %s", work.job, first_line(error))
        except OSError as error:  # the spool's
            self._actor.stop.remote(work.job)
            await self._say(failure(work, error))

    def _begin(self, work: messages.Work, folder: JobFolder) -> ray.ObjectRefGenerator:
        signals = folder.read_signals()
        references = [ray.put(array) for array in signals.values()]
        run = self._actor.run.options(num_returns="streaming", _generator_backpressure_num_objects=ON_THEIR_WAY)
        return run.remote(msgspec.structs.replace(work, folder=""), list(signals), *references)

    async def _release(self) -> None:
        try:
            await self._say(await self._actor.release.remote())
        except RayError as error:  # ended() tells of it
            log.info("memory of worker %s: %s", self._pid, first_line(error))

    async def _say(self, message: messages.Message) -> None:
        try:
            await self._hear(self.name, message)
        except Exception:  # a defect of ours must not end the server
            log.exception("a worker's %s failed", type(message).__name__)

    def _talk(self, talk) -> None:
        task = asyncio.create_task(talk)
        self._talks.add(task)
        task.add_done_callback(self._talks.discard)


def _spooled(message: messages.JobEvent, spool: Spool) -> messages.JobEvent:
    """The message as a worker process would have sent it, its array in the spool."""
    match message:
        case messages.Frame() | messages.Signal():
            return spool.keep(message)
        case messages.Done():
            spool.sync()
    return message
