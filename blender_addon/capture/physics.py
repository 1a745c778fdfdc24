"""Physics without a bake: what a capture must step through, play first, or refuse.

Measured in Blender 4.5 and 5.2: a render simulates cloth, particles and dynamic paint when every whole frame is
stepped, never when frames are jumped; it never simulates soft bodies, but reads what playing the scene has cached;
rigid bodies it neither simulates nor reads from an unbaked cache.
"""

from __future__ import annotations

import math
from typing import Iterator, Sequence

import bpy

from ...shared.errors import SceneError
from ...shared.timeline import split_frame

STEPPED = {"CLOTH", "SOFT_BODY", "DYNAMIC_PAINT", "PARTICLE_SYSTEM", "FLUID"}
PLAYED = {"SOFT_BODY"}


class Moments:
    """How each wanted frame is reached: directly, or through every whole frame since the physics began.

    ``way`` is "in place" where the user's own scene must be played first, else "scene copy". SceneError where
    rigid bodies are not baked.
    """

    def __init__(self, scene: bpy.types.Scene, frames: Sequence[float]):
        check_rigid_bodies(scene)
        self.scene, self.frames = scene, frames
        self.unbaked = unbaked(scene)
        self.played = sorted({thing.name for thing, modifier, _ in self.unbaked if modifier.type in PLAYED})
        self.way = "in place" if self.played else "scene copy"

    @property
    def notes(self) -> list[str]:
        notes = []
        if self.unbaked:
            names = sorted({thing.name for thing, _, _ in self.unbaked})
            notes.append(f"Physics without a bake was stepped frame by frame: {', '.join(names)}.")
        if self.played:
            notes.append(f"The scene was played in place first, for its soft bodies: {', '.join(self.played)}.")
        return notes

    def prepare(self) -> None:
        """Play what a render cannot simulate."""
        if self.played:
            play(self.scene, first_frame(self.unbaked), math.ceil(self.frames[-1]))

    def __iter__(self) -> Iterator[tuple[float, list[tuple[int, float]]]]:
        """(wanted frame, the (frame, sub-frame) pairs to set one after the other)."""
        reached = first_frame(self.unbaked) - 1 if self.unbaked else math.inf
        for frame in self.frames:
            whole, subframe = split_frame(frame)
            steps = [] if reached >= whole else [(step, 0.0) for step in range(reached + 1, whole + 1)]
            reached = max(reached, whole)
            yield float(frame), steps if steps and not subframe else [*steps, (whole, subframe)]


def check_rigid_bodies(scene: bpy.types.Scene) -> None:
    """SceneError where rigid bodies are not baked."""
    world = scene.rigidbody_world
    if world and world.enabled and world.collection and world.collection.all_objects and not world.point_cache.is_baked:
        raise SceneError(
            "The rigid bodies are not baked, and Blender does not simulate them while rendering.",
            "Bake them: Scene properties, Rigid Body World, Cache, Bake All Dynamics.",
        )


def unbaked(scene: bpy.types.Scene) -> list[tuple[bpy.types.Object, bpy.types.Modifier, bpy.types.PointCache]]:
    """Every object's simulating modifier whose cache is not baked."""
    found = []
    for thing in scene.objects:
        for modifier in thing.modifiers:
            cache = _cache(modifier) if modifier.type in STEPPED and modifier.show_render else None
            if cache and not cache.is_baked:
                found.append((thing, modifier, cache))
    return found


def _cache(modifier: bpy.types.Modifier) -> bpy.types.PointCache | None:
    if modifier.type == "PARTICLE_SYSTEM":
        return modifier.particle_system.point_cache
    if modifier.type == "DYNAMIC_PAINT":
        surfaces = modifier.canvas_settings.canvas_surfaces if modifier.canvas_settings else ()
        return next((surface.point_cache for surface in surfaces if not surface.point_cache.is_baked), None)
    if modifier.type == "FLUID":
        return None  # fluids live in a cache folder that Blender reads by itself
    return modifier.point_cache


def first_frame(found: list) -> int:
    """The whole frame from which every cache has been stepped."""
    return min(cache.frame_start for _, _, cache in found)


def play(scene: bpy.types.Scene, start: int, end: int) -> None:
    """Play the user's own scene frame by frame, as pressing Play does, and come back to the frame it stood at."""
    frame, subframe = scene.frame_current, scene.frame_subframe
    try:
        for step in range(start, end + 1):
            scene.frame_set(step)
    finally:
        scene.frame_set(frame, subframe=subframe)
