"""The running jobs of this Blender: a timer steps them, a file load or the end of the add-on ends them.

``runner`` is the add-on's only state outside Blender's own data, beside what it last heard of takes and of the queue.
"""

from __future__ import annotations

import time
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from .areas import redraw_sidebars
from .preflight import Check
from .stepwise import Step, Stepwise
from .telling import Telling

SECONDS_BETWEEN_STEPS = 0.01
SECONDS_A_TICK = 0.01
SECONDS_BETWEEN_REDRAWS = 0.2
SECONDS_WHILE_BLENDER_RENDERS = 0.5
SECONDS_WHILE_IT_RENDERS_FOR_US = 0.05


class Runner(Telling):
    """Runs jobs and checks: one after the other till they are in the backend's queue, all that are there beside it.

    It tells of the last that ended; ``last_take`` is its folder, ``candidates`` the first frames that it painted, ``check`` the
    latest check, with its report.
    """

    def __init__(self):
        super().__init__()
        self.jobs: list[Stepwise] = []
        self.check: Check | None = None
        self.last_take: Path | None = None
        self.candidates: list[Path] = []
        self._waits, self._changed, self._redrawn = False, False, 0.0

    @property
    def running(self) -> bool:
        return bool(self.jobs)

    @property
    def uses_scene(self) -> bool:
        """Whether a job reads the scene, or waits to."""
        return any(job.needs_scene for job in self.jobs)

    @property
    def renders(self) -> bool:
        """Whether Blender renders for a job just now: its interface is locked, and Esc ends the render."""
        return any(job.renders for job in self.jobs)

    @property
    def job(self) -> Stepwise | None:
        """The job that came first."""
        return self.jobs[0] if self.jobs else None

    @property
    def progress(self) -> Step:
        return self.job.progress if self.job else Step("", 0, 1)

    def start(self, job: Stepwise) -> None:
        """Take a job and let a timer step it."""
        self.jobs.append(job)
        self.tell("")
        if not bpy.app.timers.is_registered(self._tick):
            bpy.app.timers.register(self._tick, first_interval=0.0)

    def cancel(self, job: Stepwise | None = None) -> None:
        """Ask a job to end, or the first."""
        if chosen := job or self.job:
            chosen.cancel()

    def close(self) -> None:
        """End all at once, as when the file is closed or the add-on is disabled; the backend goes on with what it has."""
        self.check, self.candidates = None, []
        if bpy.app.timers.is_registered(self._tick):
            bpy.app.timers.unregister(self._tick)
        jobs, self.jobs = self.jobs, []
        for job in jobs:
            job.leave()

    def step(self) -> bool:
        """One step of each job that can go on, an end told in ``message``; False once there is nothing left to do."""
        held, self._waits = False, True
        for job in list(self.jobs):
            if not held or job.cancelled:
                held = job.holds_others
                if not self.step_of(job):
                    self._end(job)
                self._waits = self._waits and job.waits
        return self.running

    def _end(self, job: Stepwise) -> None:
        self.candidates = job.candidates or self.candidates
        self.last_take = getattr(job, "folder", self.last_take)
        self.jobs.remove(job)

    def _tick(self) -> float | None:
        # Strips must not be added while Blender renders, and a first frame cannot be rendered then.
        if bpy.app.is_job_running("RENDER"):
            return self._watch_render()
        self._go_on()
        if not self.jobs or (self._changed and time.monotonic() > self._redrawn + SECONDS_BETWEEN_REDRAWS):
            self._changed, self._redrawn = False, time.monotonic()
            redraw_sidebars()
        return SECONDS_BETWEEN_STEPS if self.jobs else None

    def _watch_render(self) -> float:
        if not self.renders:
            return SECONDS_WHILE_BLENDER_RENDERS
        if time.monotonic() > self._redrawn + SECONDS_BETWEEN_REDRAWS:
            self._redrawn = time.monotonic()
            redraw_sidebars()
        return SECONDS_WHILE_IT_RENDERS_FOR_US

    def _go_on(self) -> None:
        """Steps as long as there is something to do at once, but not for long: events may come faster than Blender draws.

        What begins is drawn first: it may keep Blender waiting.
        """
        end = time.monotonic() + SECONDS_A_TICK
        while self.jobs and time.monotonic() < end:
            before = [job.progress for job in self.jobs]
            self.step()
            after = [job.progress for job in self.jobs]
            self._changed = self._changed or before != after
            if [step.phase for step in before] != [step.phase for step in after]:
                self._redrawn = 0.0
                return
            if self._waits or self.renders:
                return


runner = Runner()


@persistent
def close_before_load(*_) -> None:
    runner.close()


def register() -> None:
    bpy.app.handlers.load_pre.append(close_before_load)


def unregister() -> None:
    runner.close()
    bpy.app.handlers.load_pre.remove(close_before_load)
