"""How far a step is that keeps Blender waiting, as a number at the mouse pointer: nothing else is drawn meanwhile."""

from __future__ import annotations

import time

import bpy

from .stepwise import Step

SECONDS_BEFORE_IT_SHOWS = 0.3


class BusyPointer:
    """In ``with`` around the step; :meth:`tell` hears how far it is."""

    def __init__(self):
        self._began: float | None = None
        self._shown = False

    def __enter__(self) -> BusyPointer:
        self._began = time.monotonic()
        return self

    def __exit__(self, *_) -> None:
        if self._shown:
            bpy.context.window_manager.progress_end()
        self._began, self._shown = None, False

    def tell(self, step: Step) -> None:
        """Show it where the step takes long."""
        if self._began is None or time.monotonic() < self._began + SECONDS_BEFORE_IT_SHOWS:
            return
        manager = bpy.context.window_manager
        if not self._shown:
            manager.progress_begin(0, 1)
            self._shown = True
        manager.progress_update(step.step / max(step.total, 1))
