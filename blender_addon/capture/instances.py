"""One evaluated frame's instances: local meshes read once, world positions by one matrix product each."""

from __future__ import annotations

import bpy
import msgspec
import numpy as np

Key = tuple


class Topology:
    """A mesh's triangles, and the arrays that prove that another frame's mesh has the same ones.

    Triangles stay those of the first time a topology is seen: Blender may turn the diagonal of a bent quad from
    frame to frame, tracking does not.
    """

    def __init__(self, mesh: bpy.types.Mesh, corners: np.ndarray):
        self.corners = corners
        self.counts = _counts(mesh)
        self.triangles = np.empty((len(mesh.loop_triangles), 3), np.int32)
        mesh.loop_triangles.foreach_get("vertices", self.triangles.reshape(-1))

    def fits(self, mesh: bpy.types.Mesh, corners: np.ndarray) -> bool:
        return self.counts == _counts(mesh) and np.array_equal(self.corners, corners)


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
    """One rendered instance of a mesh: world positions f32 [V,3]; a holdout hides but shows nothing."""

    key: Key
    name: str
    positions: np.ndarray
    topology: Topology
    holdout: bool


class InstanceReader:
    """Reads one frame after the other and remembers topologies, so that unchanged ones are not read again."""

    def __init__(self):
        self.first: dict[Key, Topology] = {}
        self.latest: dict[Key, Topology] = {}

    def read(self, depsgraph: bpy.types.Depsgraph) -> list[Instance]:
        """All mesh-like instances that the camera would see rendered, in the depsgraph's order.

        Text, curves, surfaces and metaballs appear both as themselves and as a MESH instance: only that is read.
        """
        layer, meshes, instances = depsgraph.view_layer_eval, {}, []
        for entry in depsgraph.object_instances:
            thing = entry.object
            if thing.type != "MESH" or not entry.show_self or not thing.visible_camera:
                continue
            key = _key(entry, thing)
            pointer = thing.data.as_pointer()
            if pointer not in meshes:
                meshes[pointer] = self._mesh(key, thing.data)
            local, topology = meshes[pointer]
            if len(topology.triangles):
                positions = _transform(local, entry.matrix_world)
                instances.append(Instance(key, key[0], positions, topology, thing.holdout_get(view_layer=layer)))
        return instances

    def _mesh(self, key: Key, mesh: bpy.types.Mesh) -> tuple[np.ndarray, Topology]:
        local = np.empty((len(mesh.vertices), 3), np.float32)
        mesh.vertices.foreach_get("co", local.reshape(-1))
        corners = _corners(mesh)
        for known in (self.latest.get(key), self.first.get(key)):
            if known and known.fits(mesh, corners):
                self.latest[key] = known
                return local, known
        self.latest[key] = Topology(mesh, corners)
        self.first.setdefault(key, self.latest[key])
        return local, self.latest[key]


def _key(entry: bpy.types.DepsgraphObjectInstance, thing: bpy.types.Object) -> Key:
    """What names an instance over time: its object, its instancer and its number there."""
    if not entry.is_instance:
        return (thing.name_full,)
    parent = entry.parent.name_full if entry.parent else ""
    return (thing.name_full, parent, *entry.persistent_id)


def _transform(local: np.ndarray, matrix) -> np.ndarray:
    world = np.array([matrix[0][:], matrix[1][:], matrix[2][:]], np.float32)
    return local @ world[:, :3].T + world[:, 3]
