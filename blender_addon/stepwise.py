"""Work on the main thread a step at a time: a timer calls step() in the window, a loop headless."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import bpy

from ..shared.errors import Cancelled

if TYPE_CHECKING:
    from .render_job import Made, Renders

SECONDS_BETWEEN_LOOKS = 0.1


class Step(NamedTuple):
    """How far the work is: ``step`` of ``total`` of ``phase``, ``eta`` in seconds where it is known."""

    phase: str
    step: int
    total: int
    eta: float | None = None


class Stepwise:
    """The base of such work, named ``what``; ``_run`` is its order of things. ``tell`` hears every Step, also in the
    middle of a long one and from the thread of a render. ``step()`` raises what ended the work."""

    what = "work"
    waits = False  # its last step found nothing to do yet

    def __init__(self, tell: Callable[[Step], None]):
        self.progress = Step("starting", 0, 1)
        self._tell = tell
        self._stop = self._begun = self._renders = False
        self._steps = self._run()

    @property
    def needs_scene(self) -> bool:
        """Whether it still has to read the scene, which only one can at a time."""
        return True

    @property
    def holds_others(self) -> bool:
        """Whether those that came later have to wait for it."""
        return True

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled before it began."""
        return self._stop and not self._begun

    @property
    def ready(self) -> str:
        """What is said at the end."""
        raise NotImplementedError

    @property
    def stopped(self) -> str:
        """What is said after a cancel."""
        return "Cancelled."

    @property
    def candidates(self) -> list[Path]:
        """Pictures that it made to choose a first frame from."""
        return []

    def step(self) -> bool:
        """Do the next piece of work; False once it is done."""
        if self.cancelled:
            self.close()
            self._check_stop()
        self._begun = True
        try:
            next(self._steps)
            return True
        except StopIteration:
            return False

    def cancel(self) -> None:
        """Ask for an end: the next step raises Cancelled once what runs has stopped."""
        self._stop = True

    @property
    def renders(self) -> bool:
        """Whether Blender renders for it just now."""
        return self._renders and bpy.app.is_job_running("RENDER")

    def close(self) -> None:
        """End at once; but what Blender renders for it has to stay until that has ended."""
        self._stop = True
        if self.renders:
            bpy.app.timers.register(self._close_after_render, persistent=True)
        else:
            self._steps.close()

    def _close_after_render(self) -> float | None:
        if self.renders:
            return SECONDS_BETWEEN_LOOKS
        self._steps.close()

    def leave(self) -> None:
        """End at once, as when the file is closed; what can go on without Blender does."""
        self.close()

    def _run(self) -> Iterator[None]:
        raise NotImplementedError

    def _run_to_end(self) -> None:
        while self.step():
            pass

    def _rendered(self, work: Renders[Made]) -> Generator[None, None, Made]:
        """What a work makes, each of its renders done as Blender's job where there is a window."""
        with closing(work):
            while True:
                try:
                    render = next(work)
                except StopIteration as end:
                    return end.value
                self._renders = True
                yield from render.as_job()
                self._renders = False
                self._check_stop()

    def _report(self, phase: str, step: int, total: int, eta: float | None = None) -> None:
        self.progress = Step(phase, step, total, eta)
        self._tell(self.progress)

    def _teller(self, phase: str) -> Callable[[int, int], None]:
        return lambda step, total: self._report(phase, step, total)

    def _stopped(self) -> bool:
        return self._stop

    def _check_stop(self) -> None:
        if self._stop:
            raise Cancelled(f"The {self.what} was cancelled.")


def find_scene(uid: int | None) -> bpy.types.Scene | None:
    """The scene as it is now: between two steps an undo or a deletion makes an old reference point at nothing."""
    return next((scene for scene in bpy.data.scenes if scene.session_uid == uid), None)
