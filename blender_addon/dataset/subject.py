"""What a clip is about: where the things are that move."""

from __future__ import annotations

import math
from collections.abc import Iterator

import bpy
import msgspec
import numpy as np
from mathutils import Vector

from ...shared.errors import SceneError

SOLID = {"MESH", "CURVE", "SURFACE", "META", "FONT"}
FLAT = 0.02  # a thing thinner than this share of its length is a floor or a wall
STILL = 1e-3  # of its size
LOOKS = 3  # times at which it is looked at


class Subject(msgspec.Struct):
    """The middle and the radius of all that moves from the clip's first frame to its last; of all things where none does."""

    centre: Vector
    radius: float
    lowest: float  # its lowest point's height


def find_subject(scene: bpy.types.Scene, start: float, end: float) -> Subject:
    """SceneError where the scene has nothing solid."""
    boxes: dict[str, list[np.ndarray]] = {}
    for frame in np.linspace(start, end, LOOKS):
        scene.frame_set(math.floor(frame), subframe=float(frame % 1))
        for name, box in _boxes(scene):
            boxes.setdefault(name, []).append(box)
    if not boxes:
        raise SceneError("The scene has nothing solid that is rendered.", "Choose a scene with meshes.")
    bulky = {name: seen for name, seen in boxes.items() if not _is_flat(seen[0])} or boxes
    moving = [np.concatenate(seen) for seen in bulky.values() if _moves(seen)]
    corners = np.concatenate(moving or [np.concatenate(seen) for seen in bulky.values()])
    low, high = corners.min(axis=0), corners.max(axis=0)
    return Subject(Vector((low + high) / 2), max(float(np.linalg.norm(high - low)) / 2, 1e-3), float(low[2]))


def _boxes(scene: bpy.types.Scene) -> Iterator[tuple[str, np.ndarray]]:
    """Name and the corners f64 [8,3] of each rendered thing's box, at the frame that is shown, world."""
    depsgraph = bpy.context.evaluated_depsgraph_get()
    for thing in scene.objects:
        if thing.type in SOLID and not thing.hide_render:
            seen = thing.evaluated_get(depsgraph)
            yield thing.name, np.array([seen.matrix_world @ Vector(corner) for corner in seen.bound_box])


def _is_flat(corners: np.ndarray) -> bool:
    sides = np.ptp(corners, axis=0)
    return sides.min() < FLAT * sides.max()


def _moves(seen: list[np.ndarray]) -> bool:
    size = float(np.ptp(seen[0], axis=0).max())
    return any(np.abs(box - seen[0]).max() > STILL * size for box in seen[1:])
