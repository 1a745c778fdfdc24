"""The backend's jobs as last heard, and the connection that hears them.

The connection is this Blender's lease: it is held from the first job on until Blender quits or the backend goes, so that
the backend keeps what it has loaded from one job to the next, and goes on while another file is open.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from ..shared import backend_process
from ..shared.client import Client, connecting
from ..shared.errors import DasError
from ..shared.messages import JobInfo
from .areas import redraw_sidebars
from .history import Entry, history, read_entry
from .resume_job import ResumeJob
from .runner import runner
from .sequencer import sequencer_scene
from .take_jobs import TakeJob

SECONDS_BETWEEN_LOOKS = 0.25
SECONDS_BETWEEN_LISTINGS = 1.0
UNFINISHED = ("queued", "running")
MOST_ENDED = 3


class QueueView:
    """``jobs`` are all that the backend has: the running one, those that wait in their order, ended ones newest first."""

    def __init__(self):
        self.jobs: list[JobInfo] = []
        self._client: Client | None = None
        self._reaching: Iterator[Client | None] | None = None
        self._asked = 0.0

    @property
    def connected(self) -> bool:
        return self._client is not None

    def watch(self) -> None:
        """Hear of the backend's jobs from now on, as soon as one runs."""
        if not bpy.app.timers.is_registered(self._tick):
            bpy.app.timers.register(self._tick, first_interval=0.0, persistent=True)

    def close(self) -> None:
        """End the connection: a backend that nobody else needs ends, and begins its running job again next time."""
        if bpy.app.timers.is_registered(self._tick):
            bpy.app.timers.unregister(self._tick)
        self._forget()
        self.jobs = []

    def step(self) -> bool:
        """Hear what there is; False once there is no backend, and no job of ours that will start one."""
        try:
            if self._client is None:
                self._reach()
            elif self._client.is_gone():
                self._forget()
                self._take_in([])
            else:
                self._listen(self._client)
        except DasError as error:  # the jobs tell it as well, where they need the backend
            print(f"Diffusion as Shader: the queue is not heard. {error}")
            self._forget()
        return bool(self._client or self._reaching or runner.running)

    def cancel(self, job: str) -> None:
        """Stop a job of the backend's."""
        if self._client:
            self._client.cancel(job)
            self._asked = 0.0

    def move(self, job: str, position: int) -> None:
        """Let a waiting job come as number ``position``, from 0."""
        if self._client:
            self._client.move(job, position)

    def _reach(self) -> None:
        """One step towards a backend that runs; none is started."""
        if self._reaching is None:
            connection = backend_process.find_backend()
            self._reaching = connecting(connection, "Blender") if connection else None
        if self._reaching:
            self._client = next(self._reaching)
        if self._client:
            self._reaching = None

    def _listen(self, client: Client) -> None:
        client.hear()
        self._take_in(client.jobs)
        attach_ours(client.jobs)
        if time.monotonic() - self._asked > SECONDS_BETWEEN_LISTINGS:
            self._asked = time.monotonic()
            client.refresh()

    def _take_in(self, jobs: list[JobInfo]) -> None:
        if jobs != self.jobs:
            self.jobs = jobs
            redraw_sidebars()

    def _forget(self) -> None:
        if self._reaching:
            self._reaching.close()
        if self._client:
            self._client.close()
        self._client = self._reaching = None

    def _tick(self) -> float | None:
        if bpy.app.is_job_running("RENDER"):
            return SECONDS_BETWEEN_LISTINGS
        return SECONDS_BETWEEN_LOOKS if self.step() else None


queue = QueueView()


def job_of_take(folder: Path) -> TakeJob | None:
    """The running job that writes a take."""
    return next((job for job in take_jobs() if job.folder.resolve() == folder.resolve()), None)


def take_jobs() -> list[TakeJob]:
    """What runs or waits here, in its order."""
    return [job for job in runner.jobs if isinstance(job, TakeJob)]


def others() -> list[JobInfo]:
    """Unfinished jobs of the backend's that nobody here follows."""
    followed = {job.take.record.job for job in take_jobs() if job.take}
    return [info for info in queue.jobs if info.state in UNFINISHED and info.job not in followed]


def ended() -> list[Entry]:
    """Takes of this file whose jobs came to a bad end lately, or were left with a backend that has ended: they can be tried again."""
    at_work = {job.folder for job in take_jobs()}
    listed = {info.job for info in queue.jobs if info.state in UNFINISHED}
    bad = {info.job for info in queue.jobs if info.state in ("failed", "cancelled")}
    found = (
        entry
        for entry in history.entries.values()
        if entry.can_resume and entry.folder not in at_work and (entry.record.job in bad or _was_left(entry, listed))
    )
    return list(itertools.islice(found, MOST_ENDED))


def _was_left(entry: Entry, listed: set[str]) -> bool:
    return entry.record.state in UNFINISHED and entry.record.job not in listed


def attach_ours(jobs: list[JobInfo]) -> None:
    """Go on with what this Blender brought while a file was open that is open again."""
    for info in jobs:
        entry = history.of_job(info.job) if info.state in (*UNFINISHED, "done") and _is_ours(info) else None
        if entry and entry.record.state in UNFINISHED and job_of_take(entry.folder) is None:
            now = read_entry(entry.folder)
            if now and now.record.state in UNFINISHED and now.can_resume:
                resume(now)


def resume(entry: Entry) -> None:
    """Go on with a take."""
    scene = bpy.context.scene
    runner.start(ResumeJob(scene, entry.folder, strip_scene=sequencer_scene(bpy.context) if scene.das.show_strip else None))
    queue.watch()


def _is_ours(job: JobInfo) -> bool:
    """Whether this Blender brought it: what another program follows is not taken from it."""
    return job.owner.startswith(f"Blender {os.getpid()}@")


@persistent
def look_after_load(*_) -> None:
    """The file may have takes that the backend goes on with."""
    if queue.connected:
        history.look()


def register() -> None:
    bpy.app.handlers.load_post.append(look_after_load)


def unregister() -> None:
    queue.close()
    bpy.app.handlers.load_post.remove(look_after_load)
