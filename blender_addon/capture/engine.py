"""The temporary render engine: Blender hands it exactly what it would render."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Iterable, Iterator

import bpy

from ...shared.errors import Cancelled, SceneError
from ..render_job import Renders
from .scene_guard import ENGINE_ID, RenderCopy

Visit = Callable[[bpy.types.RenderEngine, bpy.types.Depsgraph], None]


def visiting_render(copy: RenderCopy, visit: Visit) -> Renders[None]:
    """Call ``visit(engine, depsgraph)`` inside one render of the copy, where that is Blender's job in its thread.

    An exception of ``visit`` is raised here (Blender itself would only print it); SceneError where Blender
    never called the engine.
    """
    outcome = _Outcome(visit)
    engine = _engine_class(outcome)
    bpy.utils.register_class(engine)
    try:
        copy.scene.render.engine = ENGINE_ID
        with _without_grease_pencil(copy.scene):
            yield from copy.rendering()
    finally:
        bpy.utils.unregister_class(engine)
    if outcome.error:
        raise outcome.error
    if not outcome.called:
        raise SceneError("Blender rendered the scene without calling the capture.", "Check that the scene renders with F12.")


def reach(engine: bpy.types.RenderEngine, steps: Iterable[tuple[int, float]]) -> None:
    """Set frames (whole, sub-frame) one after the other; Cancelled once the user has ended the render."""
    for whole, subframe in steps:
        check_break(engine)
        engine.frame_set(whole, subframe)


def check_break(engine: bpy.types.RenderEngine) -> None:
    """Cancelled once the user has ended the render."""
    if engine.test_break():
        raise Cancelled("The render was cancelled.")


@contextmanager
def _without_grease_pencil(scene: bpy.types.Scene) -> Iterator[None]:
    """Blender would draw it over any engine's picture, and take the gpu context away."""
    layers = [layer for layer in scene.view_layers if layer.use_grease_pencil]
    for layer in layers:
        layer.use_grease_pencil = False
    yield
    for layer in layers:
        layer.use_grease_pencil = True


class _Outcome:
    """What happened inside ``render()``."""

    def __init__(self, visit: Visit):
        self.visit = visit
        self.called = False
        self.error: BaseException | None = None

    def run(self, engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
        self.called = True
        try:
            self.visit(engine, depsgraph)
        except BaseException as error:  # raised again by visiting_render, outside of Blender's render
            self.error = error


def _engine_class(outcome: _Outcome) -> type[bpy.types.RenderEngine]:
    def render(self, depsgraph):
        outcome.run(self, depsgraph)

    return type(
        ENGINE_ID, (bpy.types.RenderEngine,), {"bl_idname": ENGINE_ID, "bl_label": "DaS capture", "render": render}
    )
