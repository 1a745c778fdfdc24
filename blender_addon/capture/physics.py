"""Physics without a bake: what a capture must step through, play first, or refuse.

Measured in Blender 4.5 and 5.2: a render simulates cloth, particles and dynamic paint when every whole frame is
stepped, never when frames are jumped; it never simulates soft bodies and simulation zones, but reads what playing
the scene has cached; rigid bodies it neither simulates nor reads from an unbaked cache.
"""

from __future__ import annotations

import math
from contextlib import contextmanager
from typing import Iterator, Sequence

import bpy
import msgspec

from ...shared.errors import SceneError
from ...shared.timeline import split_frame
from ..stepwise import find_scene
from .engine import check_break
from .scene_guard import rendered_objects
from .unkeyed import unkeyed_changes_kept

CACHED = {"CLOTH", "SOFT_BODY", "DYNAMIC_PAINT", "PARTICLE_SYSTEM"}
PLAYED = {"SOFT_BODY", "NODES"}


class Simulation(msgspec.Struct):
    """An object's simulating modifier without a bake, and the whole frame at which it begins."""

    name: str
    kind: str
    start: int


class Moments:
    """How each wanted frame is reached: directly, or through every whole frame since the physics began.

    ``way`` is "in place" where the user's own scene must be played first, else "scene copy". SceneError where
    rigid bodies or fluids are not baked.
    """

    def __init__(self, scene: bpy.types.Scene, frames: Sequence[float]):
        check_rigid_bodies(scene)
        check_fluids(scene)
        self.scene, self.frames = scene, frames
        self.unbaked = unbaked(scene)
        self.played = sorted({each.name for each in self.unbaked if each.kind in PLAYED})
        self.start = min((each.start for each in self.unbaked), default=None)
        self.way = "in place" if self.played else "scene copy"

    @property
    def notes(self) -> list[str]:
        notes = []
        if self.unbaked:
            names = sorted({each.name for each in self.unbaked})
            notes.append(f"Physics without a bake was stepped frame by frame: {', '.join(names)}.")
        if self.played:
            notes.append(f"The scene was played in place first, because a render does not simulate {', '.join(self.played)}.")
        return notes

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Around the render in which the scene is played: it stands afterwards where it stood."""
        if not self.played:
            yield
            return
        uid, frame, subframe = self.scene.session_uid, self.scene.frame_current, self.scene.frame_subframe
        with unkeyed_changes_kept():
            try:
                yield
            finally:
                if scene := find_scene(uid):  # not after another file was opened
                    scene.frame_set(frame, subframe=subframe)

    def play(self, engine: bpy.types.RenderEngine) -> None:
        """Play what a render cannot simulate: the user's own scene frame by frame, as pressing Play does. Inside of a render
        of its copy, while Blender evaluates it nowhere else; Cancelled once the user has ended that."""
        frames = range(self.start, math.ceil(self.frames[-1]) + 1) if self.played else ()
        for done, frame in enumerate(frames):
            check_break(engine)
            engine.update_progress(done / len(frames))
            self.scene.frame_set(frame)

    def __iter__(self) -> Iterator[tuple[float, list[tuple[int, float]]]]:
        """(wanted frame, the (frame, sub-frame) pairs to set one after the other)."""
        reached = math.inf if self.start is None else self.start - 1
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
            "bake_rigid_bodies",
        )


def check_fluids(scene: bpy.types.Scene) -> None:
    """SceneError where a fluid is not baked: simulating it ends a Blender without a window, in the render or at exit."""
    for thing in rendered_objects(scene):
        for modifier in thing.modifiers:
            domain = modifier.domain_settings if modifier.type == "FLUID" and modifier.show_render else None
            if domain and not domain.has_cache_baked_data:
                raise SceneError(
                    f"The fluid of {thing.name} is not baked, and Blender can end when it simulates one while rendering.",
                    "Bake it: Physics properties, Fluid, Cache (type All or Modular); or switch the modifier off for renders.",
                )


def unbaked(scene: bpy.types.Scene) -> list[Simulation]:
    """Every simulation that a render would run whose cache is not baked. Simulation zones do not say whether they
    are: playing a baked one does no harm."""
    found = []
    for thing in rendered_objects(scene):
        for modifier in thing.modifiers:
            start = _start(modifier, scene) if modifier.show_render else None
            if start is not None:
                found.append(Simulation(thing.name, modifier.type, start))
    return found


def _start(modifier: bpy.types.Modifier, scene: bpy.types.Scene) -> int | None:
    """The frame at which an unbaked simulation begins; None where there is none. (Fluids live in a folder of files
    that a render reads by itself.)"""
    if modifier.type == "NODES":
        return scene.frame_start if modifier.node_group and _simulates(modifier.node_group) else None
    caches = [cache for cache in _caches(modifier) if not cache.is_baked]
    return min((cache.frame_start for cache in caches), default=None)


def _caches(modifier: bpy.types.Modifier) -> list[bpy.types.PointCache]:
    if modifier.type not in CACHED:
        return []
    if modifier.type == "PARTICLE_SYSTEM":
        return [modifier.particle_system.point_cache]
    if modifier.type == "DYNAMIC_PAINT":
        canvas = modifier.canvas_settings
        return [surface.point_cache for surface in canvas.canvas_surfaces] if canvas else []
    return [modifier.point_cache]


def _simulates(tree: bpy.types.NodeTree) -> bool:
    """Does a node tree hold a simulation zone, in itself or in a group?"""
    return any(
        node.bl_idname == "GeometryNodeSimulationOutput" or (node.type == "GROUP" and node.node_tree and _simulates(node.node_tree))
        for node in tree.nodes
    )
