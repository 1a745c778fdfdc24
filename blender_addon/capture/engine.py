"""The temporary render engine: Blender hands it exactly what it would render."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Callable, Iterator

import bpy

from ...shared.errors import SceneError
from .scene_guard import ENGINE_ID, RenderCopy

Visit = Callable[[bpy.types.RenderEngine, bpy.types.Depsgraph], None]


def visit_render(copy: RenderCopy, visit: Visit) -> None:
    """Call ``visit(engine, depsgraph)`` inside one render of the copy.

    An exception of ``visit`` is raised here (Blender itself would only print it); SceneError where Blender
    never called the engine.
    """
    outcome = _Outcome(visit)
    engine = _engine_class(outcome)
    bpy.utils.register_class(engine)
    try:
        copy.scene.render.engine = ENGINE_ID
        with _without_grease_pencil(copy.scene):
            copy.render()
    finally:
        bpy.utils.unregister_class(engine)
    if outcome.error:
        raise outcome.error
    if not outcome.called:
        raise SceneError("Blender rendered the scene without calling the capture.", "Check that the scene renders with F12.")


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
        except BaseException as error:  # raised again by visit_render, outside of Blender's render
            self.error = error


def _engine_class(outcome: _Outcome) -> type[bpy.types.RenderEngine]:
    def render(self, depsgraph):
        outcome.run(self, depsgraph)

    return type(
        ENGINE_ID, (bpy.types.RenderEngine,), {"bl_idname": ENGINE_ID, "bl_label": "DaS capture", "render": render}
    )
