"""The running job of this Blender: a timer steps it, a file load or the end of the add-on cancels it.

``runner`` is the add-on's only state outside Blender's own data.
"""

from __future__ import annotations

import traceback
from pathlib import Path

import bpy
from bpy.app.handlers import persistent

from ..shared.errors import Cancelled, DasError
from .preflight import Check
from .stepwise import Step, Stepwise

SECONDS_BETWEEN_STEPS = 0.01
SECONDS_WHILE_BLENDER_RENDERS = 0.5


class Runner:
    """Runs one job or check at a time. ``message``, ``fix`` and ``failed`` are what the panel says of the last one,
    ``candidates`` the first frames that it painted, ``check`` is the latest check, with its report."""

    def __init__(self):
        self.job: Stepwise | None = None
        self.check: Check | None = None
        self.message = ""
        self.fix = ""
        self.failed = False
        self.candidates: list[Path] = []

    @property
    def running(self) -> bool:
        return self.job is not None

    @property
    def progress(self) -> Step:
        return self.job.progress if self.job else Step("", 0, 1)

    def start(self, job: Stepwise) -> None:
        """Take a job and let a timer step it."""
        self.job, self.message, self.fix, self.failed = job, "", "", False
        if not bpy.app.timers.is_registered(self._tick):
            bpy.app.timers.register(self._tick, first_interval=0.0)

    def cancel(self) -> None:
        """Ask the job to end."""
        if self.job:
            self.job.cancel()

    def close(self) -> None:
        """End the job at once, as when the file is closed or the add-on is disabled."""
        self.check, self.candidates = None, []
        if bpy.app.timers.is_registered(self._tick):
            bpy.app.timers.unregister(self._tick)
        if self.job:
            job, self.job = self.job, None
            job.close()

    def step(self) -> bool:
        """One step of the job, its end told in ``message``; False once there is nothing left to do."""
        if self.job is None:
            return False
        try:
            if self.job.step():
                return True
            self._end(self.job.ready)
        except Cancelled:
            self._end("Cancelled.")
        except DasError as error:
            self._end(error.message, error.fix, failed=True)
        except Exception as error:
            traceback.print_exc()
            self._end(f"{type(error).__name__}: {error}.", "See the system console.", failed=True)
        return False

    def _end(self, message: str, fix: str = "", failed: bool = False) -> None:
        self.candidates = self.job.candidates or self.candidates
        self.job, self.message, self.fix, self.failed = None, message, fix, failed

    def _tick(self) -> float | None:
        # Strips must not be added while Blender renders, and a first frame cannot be rendered then.
        if bpy.app.is_job_running("RENDER"):
            return SECONDS_WHILE_BLENDER_RENDERS
        before = self.progress
        going_on = self.step()
        if not going_on or self.progress != before:
            redraw()
        return SECONDS_BETWEEN_STEPS if going_on else None


runner = Runner()


def redraw() -> None:
    """Let sidebars and Sequencers show what has changed; the viewport itself has not."""
    for window in bpy.context.window_manager.windows:
        for area in window.screen.areas:
            for region in area.regions:
                if (area.type, region.type) == ("VIEW_3D", "UI") or area.type == "SEQUENCE_EDITOR":
                    region.tag_redraw()


@persistent
def close_before_load(*_) -> None:
    runner.close()


def register() -> None:
    bpy.app.handlers.load_pre.append(close_before_load)


def unregister() -> None:
    runner.close()
    bpy.app.handlers.load_pre.remove(close_before_load)
