"""The scene's first frame as one picture of a task: its exact depth, its camera, and what belongs to an object."""

from __future__ import annotations

from contextlib import closing
from typing import Callable

import bpy
import msgspec
import numpy as np

from ...shared.camera import Camera
from ...shared.errors import SceneError
from ...shared.request import GenerationRequest
from ..render_job import Renders
from .draw import choose_drawer
from .frames import Key
from .geometry import capturing
from .signals import clip_to_view


class Still(msgspec.Struct):
    """One frame of the request's window. ``numbers`` are those that ``objects`` gives to each rendered instance."""

    camera: Camera
    depth: np.ndarray  # f32 [H,W], camera z; inf where nothing is
    objects: np.ndarray  # u16 [H,W], 0 where nothing is
    numbers: dict[Key, int]
    notes: list[str]

    @property
    def median_depth(self) -> float | None:
        """The median camera z of all that is seen; None where nothing is."""
        seen = self.depth[np.isfinite(self.depth)]
        return float(np.median(seen)) if seen.size else None


def reading_still(scene: bpy.types.Scene, request: GenerationRequest, cancelled: Callable[[], bool] | None = None) -> Renders[Still]:
    """The request's first frame, captured and drawn as the tracking video's is.

    SceneError as :func:`capture`; the scene is left as it was.
    """
    captured = yield from capturing(scene, request, [request.start], cancelled=cancelled)
    drawer, why_slow = choose_drawer()
    with captured, closing(drawer):
        frame = captured.frames[0]
        drawn = clip_to_view(drawer.draw(frame), frame.camera)
        numbers = {part.key: int(frame.objects[part.start]) for part in frame.parts}
        return Still(frame.camera, drawn.depth, drawn.objects, numbers, captured.notes + [why_slow] * bool(why_slow))


def matte(still: Still, thing: bpy.types.Object) -> np.ndarray:
    """bool [H,W]: the pixels that show an object, its children, or what any of them instances; SceneError where none does."""
    names = {each.name_full for each in (thing, *thing.children_recursive)}
    numbers = [number for key, number in still.numbers.items() if names & _names(key)]
    shown = np.isin(still.objects, numbers)
    if not shown.any():
        raise SceneError(f"{thing.name} is not seen in the first frame.", "Choose another object, or a range that begins where it is in view.")
    return shown


def _names(key: Key) -> set[str]:
    """The object that an instance shows, and the one that instances it."""
    return set(key[:2])
