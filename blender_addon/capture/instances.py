"""One evaluated frame's instances: local meshes read once, world positions by one matrix product each."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import bpy
import msgspec
import numpy as np

from .frames import Key
from .identity import Identity, read_identity
from .surfaces import Look, Looks
from .untracked import Untracked, why_object, why_surface


class Topology:
    """A mesh's triangles, and the arrays that prove that another frame's mesh has the same ones.

    Triangles stay those of the first time a topology is seen: Blender may turn the diagonal of a bent quad from
    frame to frame, tracking does not. ``number`` names the topology among all of a capture.
    """

    def __init__(self, number: int, mesh: bpy.types.Mesh, corners: np.ndarray, identity: Identity | None):
        self.number = number
        self.corners = corners
        self.identity = identity
        self.counts = _counts(mesh)
        self.triangles = np.empty((len(mesh.loop_triangles), 3), np.int32)
        mesh.loop_triangles.foreach_get("vertices", self.triangles.reshape(-1))
        self.materials = np.zeros(len(self.triangles), np.int32)
        if len(mesh.materials) > 1:
            mesh.loop_triangles.foreach_get("material_index", self.materials)

    def fits(self, mesh: bpy.types.Mesh, corners: np.ndarray, identity: Identity | None) -> bool:
        same_identity = identity is None if self.identity is None else self.identity.same_as(identity)
        return same_identity and self.counts == _counts(mesh) and np.array_equal(self.corners, corners)


def _counts(mesh: bpy.types.Mesh) -> tuple[int, int, int]:
    return len(mesh.vertices), len(mesh.edges), len(mesh.polygons)


def _corners(mesh: bpy.types.Mesh) -> np.ndarray:
    """i32 [2,L]: each corner's vertex and edge, which together with the counts determine the faces."""
    corners = np.empty((2, len(mesh.loops)), np.int32)
    if corners.size:
        mesh.attributes[".corner_vert"].data.foreach_get("value", corners[0])
        mesh.attributes[".corner_edge"].data.foreach_get("value", corners[1])
    return corners


class Instance(msgspec.Struct):
    """One rendered instance of a mesh: world positions f32 [V,3]; a holdout hides but shows nothing.
    ``looks`` is the look of each material that its triangles number; a ``mirrored`` one's triangles turn the other way."""

    key: Key
    name: str
    positions: np.ndarray
    topology: Topology
    holdout: bool
    looks: tuple[Look, ...]
    mirrored: bool


class InstanceReader:
    """Reads one frame after the other and remembers topologies, so that unchanged ones are not read again.

    ``engine`` is the render engine whose materials are looked at; ``untracked`` lists what is rendered and is no
    surface that can be followed.
    """

    def __init__(self, engine: str):
        self.engine = engine
        self._looks = Looks(engine)
        self._looked: dict[Key, tuple[Look, ...]] = {}
        self.untracked: dict[Untracked, None] = {}
        self._numbers = itertools.count()
        self._first: dict[str, list[Topology]] | None = None
        self._before: dict[str, list[Topology]] = {}
        self._now: dict[str, list[Topology]] = {}

    def read(self, depsgraph: bpy.types.Depsgraph) -> list[Instance]:
        """All mesh-like instances that the camera would see rendered, in the depsgraph's order.

        Text, curves, surfaces and metaballs appear both as themselves and as a MESH instance: only that is read.
        """
        layer, meshes, instances = depsgraph.view_layer_eval, {}, []
        self._looks.next_frame()
        for entry in depsgraph.object_instances:
            thing = entry.object
            if not entry.show_self or not self._seen(thing, layer):
                continue
            pointer = thing.data.as_pointer()
            if pointer not in meshes:
                meshes[pointer] = self._mesh(thing)
            local, topology = meshes[pointer]
            self._remember(thing.name_full, topology)
            if len(topology.triangles):
                key, matrix = _key(entry, thing), entry.matrix_world
                looks = self._look_at(key, thing, layer)
                holdout = thing.holdout_get(view_layer=layer) or set(looks) == {"holdout"}
                positions, mirrored = _transform(local, matrix), matrix.is_negative
                instances.append(Instance(key, key[0], positions, topology, holdout, looks, mirrored))
        self._first = self._first or self._now
        self._before, self._now = self._now, {}
        return instances

    def _seen(self, thing: bpy.types.Object, layer: bpy.types.ViewLayer) -> bool:
        """Is it a mesh whose surface the camera sees?"""
        if not thing.visible_camera:
            return False
        if thing.type != "MESH":
            self._miss(thing, why_object(thing))
            return False
        if self.engine == "CYCLES" and thing.is_shadow_catcher:
            self._miss(thing, "a shadow catcher shows shadows only")
            return False
        return not (self.engine == "CYCLES" and thing.indirect_only_get(view_layer=layer))

    def _look_at(self, key: Key, thing: bpy.types.Object, layer: bpy.types.ViewLayer) -> tuple[Look, ...]:
        looks = self._looks.of(thing, layer.material_override)
        if self._looked.get(key) != looks:
            self._looked[key] = looks
            for reason in why_surface(thing, looks):
                self._miss(thing, reason)
        return looks

    def _miss(self, thing: bpy.types.Object, reason: str) -> None:
        if reason:
            self.untracked[Untracked(thing.name_full, reason)] = None

    def _mesh(self, thing: bpy.types.Object) -> tuple[np.ndarray, Topology]:
        """Local positions f32 [V,3] and the topology: one that an object of this name had a frame ago or in the first
        frame, else a new one. Instances come and go, so none of them can be the one to remember it by."""
        with _readable(thing) as mesh:
            local = np.empty((len(mesh.vertices), 3), np.float32)
            if local.size:  # vertices.co is 20 times slower; a mesh without vertices has no such attribute
                mesh.attributes["position"].data.foreach_get("vector", local.reshape(-1))
            corners, identity, name = _corners(mesh), read_identity(mesh, local), thing.name_full
            for known in (*self._now.get(name, ()), *self._before.get(name, ()), *(self._first or {}).get(name, ())):
                if known.fits(mesh, corners, identity):
                    return local, known
            return local, Topology(next(self._numbers), mesh, corners, identity)

    def _remember(self, name: str, topology: Topology) -> None:
        """By each object that shows it: those that share a mesh come and go one by one."""
        if topology not in self._now.setdefault(name, []):
            self._now[name].append(topology)


@contextmanager
def _readable(thing: bpy.types.Object) -> Iterator[bpy.types.Mesh]:
    """An evaluated object's mesh; while it is edited Blender keeps that where only ``to_mesh`` finds it."""
    if not thing.data.is_editmode:
        yield thing.data
        return
    try:
        yield thing.to_mesh()
    finally:
        thing.to_mesh_clear()


def _key(entry: bpy.types.DepsgraphObjectInstance, thing: bpy.types.Object) -> Key:
    """What names an instance over time: its object, its instancer and its number there."""
    if not entry.is_instance:
        return (thing.name_full,)
    parent = entry.parent.name_full if entry.parent else ""
    return (thing.name_full, parent, *entry.persistent_id)


def _transform(local: np.ndarray, matrix) -> np.ndarray:
    world = np.array([matrix[0][:], matrix[1][:], matrix[2][:]], np.float32)
    moved = np.dot(local, world[:, :3].T)  # twice as fast as @ on rows of three
    moved += world[:, 3]
    return moved
