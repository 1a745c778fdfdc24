"""Renders of ours: at once, or in the window as Blender's own job, with progress in the status bar, ended by Esc.

What needs renders is a generator that yields each :class:`Render` when it comes to it and returns what it has made. Who steps
it chooses how they are done: :func:`at_once`, or a Stepwise, which lets Blender go on meanwhile.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing, contextmanager
from functools import wraps
from typing import ParamSpec, TypeVar

import bpy

from ..shared.errors import Cancelled, SceneError
from ..shared.steps import returned
from .stepwise import find_scene

Made = TypeVar("Made")
Given = ParamSpec("Given")
Renders = Generator["Render", None, Made]
SECONDS_TO_DRAW = 0.03  # longer than a tick of the runner, after which Blender draws


class Render:
    """One render of a scene, or of its whole range as ``animation``; a ``brief`` one is no job, but takes a step.

    It is called on the context of the scene ``stage``, because Blender ends a render by evaluating the context's scene anew,
    which would throw away what the user has changed and not keyed yet. ``yield from`` it: RuntimeError with Blender's
    reason where it refuses, Cancelled where the user has ended it.
    """

    def __init__(self, scene: bpy.types.Scene, stage: bpy.types.Scene, *, animation: bool = False, brief: bool = False):
        self._scene, self._stage = scene.session_uid, stage.session_uid
        self._animation, self._brief = animation, brief
        self._completed = False
        self._error: Exception | None = None

    def __iter__(self) -> Iterator[Render]:
        yield self
        if self._error:
            raise self._error

    def execute(self) -> None:
        """Render at once: Blender neither draws nor hears anything until its end."""
        try:
            scene, stage = self._find_scenes()
            with bpy.context.temp_override(scene=stage, view_layer=stage.view_layers[0]):
                bpy.ops.render.render(scene=scene.name, animation=self._animation)
        except (RuntimeError, SceneError) as error:
            self._error = error

    def as_job(self) -> Iterator[None]:
        """Render as Blender's job, which ends between two steps. Its interface is locked meanwhile, so that nothing is edited."""
        try:
            if bpy.app.background or self._brief:
                self.execute()
                yield
            else:
                yield from self._wait_for_job()
            self._find_scenes()  # before this step the user could undo
        except (RuntimeError, Cancelled, SceneError) as error:
            self._error = self._error or error

    def _wait_for_job(self) -> Iterator[None]:
        drawn = time.monotonic() + SECONDS_TO_DRAW
        while time.monotonic() < drawn:  # a viewport that is to be drawn while it is locked turns black
            yield
        with called(bpy.app.handlers.render_complete, self._complete):
            self._begin()
            while bpy.app.is_job_running("RENDER"):
                yield
        if not self._completed:
            raise Cancelled("The render was cancelled.")

    def _begin(self) -> None:
        scene, stage = self._find_scenes()
        scene.render.use_lock_interface = True
        window = bpy.context.window_manager.windows[0]
        # no view_layer here: with one, Blender 5.2 crashes as it begins
        with _no_render_window(), bpy.context.temp_override(window=window, scene=stage):
            begun = bpy.ops.render.render("INVOKE_DEFAULT", scene=scene.name, animation=self._animation)
        if "CANCELLED" in begun:
            raise RuntimeError("Blender did not begin to render.")

    def _complete(self, *_) -> None:
        self._completed = True

    def _find_scenes(self) -> tuple[bpy.types.Scene, bpy.types.Scene]:
        scenes = find_scene(self._scene), find_scene(self._stage)
        if None in scenes:
            raise SceneError("The scene was changed while it was rendered.", "Start again.")
        return scenes


def at_once(work: Renders[Made]) -> Made:
    """What a work makes, each of its renders done at once."""
    with closing(work):
        return returned(work, Render.execute)


def done_at_once(work: Callable[Given, Renders[Made]]) -> Callable[Given, Made]:
    """A work as a plain function: the same of :func:`at_once`."""

    @wraps(work)
    def whole(*args: Given.args, **options: Given.kwargs) -> Made:
        return at_once(work(*args, **options))

    return whole


@contextmanager
def called(handlers: list[Callable], handler: Callable) -> Iterator[None]:
    """One more of Blender's handlers."""
    handlers.append(handler)
    try:
        yield
    finally:
        if handler in handlers:  # not after another file was opened
            handlers.remove(handler)


@contextmanager
def _no_render_window() -> Iterator[None]:
    """Blender would show the picture in a window or an editor, as the user likes to see renders of their own."""
    preferences = bpy.context.preferences
    kept, was_dirty = preferences.view.render_display_type, preferences.is_dirty
    preferences.view.render_display_type = "NONE"
    try:
        yield
    finally:
        preferences.view.render_display_type = kept
        preferences.is_dirty = was_dirty
