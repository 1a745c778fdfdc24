"""What Preferences do to the backend and its models, one thing at a time, beside the jobs of the scenes.

``upkeep`` is state outside Blender's own data, as ``runner`` is. It needs no scene, so it goes on when another file is opened.
"""

from __future__ import annotations

from pathlib import Path

import bpy

from ..shared import home
from ..shared.errors import UsageError
from ..shared.model_entries import Entries
from .areas import redraw, redraw_sidebars
from .stepwise import Step, Stepwise
from .telling import Telling

SECONDS_BETWEEN_STEPS = 0.1
LOG_LINES = 6


class Upkeep(Telling):
    """It tells how the last work ended. ``log`` are the last lines of what runs or has failed, ``models`` is the latest listing,
    None before the first."""

    def __init__(self):
        super().__init__()
        self.work: Stepwise | None = None
        self.models: Entries | None = None
        self.log: list[str] = []

    @property
    def running(self) -> bool:
        return self.work is not None

    @property
    def progress(self) -> Step:
        return self.work.progress if self.work else Step("", 0, 1)

    def start(self, work: Stepwise) -> None:
        """Take a work and let a timer step it."""
        if self.work:
            raise UsageError(f"Preferences are busy: {self.work.what}.", "Wait for its end, or cancel it.")
        self.work, self.log = work, []
        self.tell("")
        bpy.app.timers.register(self._tick, first_interval=0.0, persistent=True)

    def cancel(self) -> None:
        """Ask the work to end."""
        if self.work:
            self.work.cancel()

    def close(self) -> None:
        """End the work at once, as when the add-on is disabled or Blender quits."""
        if bpy.app.timers.is_registered(self._tick):
            bpy.app.timers.unregister(self._tick)
        if self.work:
            work, self.work = self.work, None
            work.close()

    def step(self) -> bool:
        """One step of the work, its end told in ``message``; False once there is nothing left to do."""
        if self.work is None:
            return False
        if self.step_of(self.work):
            return True
        self.work, self.log = None, self.log if self.failed else []
        return False

    def _tick(self) -> float | None:
        before = (self.progress, list(self.log))
        going_on = self.step()
        if not going_on or (self.progress, self.log) != before:
            redraw_upkeep()
        return SECONDS_BETWEEN_STEPS if going_on else None


upkeep = Upkeep()


def redraw_upkeep() -> None:
    """Let Preferences and the sidebars show what has changed."""
    redraw("PREFERENCES")
    redraw_sidebars()


def install_log() -> Path:
    """What pip and others said while the backend was installed."""
    return home.log_folder() / "backend-install.log"


def last_lines(file: Path, count: int = LOG_LINES, length: int = 4000) -> list[str]:
    """The end of a log; a download's progress, which is told elsewhere, is left out."""
    try:
        with file.open("rb") as opened:
            opened.seek(max(0, file.stat().st_size - length))
            text = opened.read().decode("utf-8", "replace")
    except FileNotFoundError:
        return []
    lines = [line.strip() for line in text.splitlines()]
    return [line for line in lines if line and not line.startswith("Progress ")][-count:]
