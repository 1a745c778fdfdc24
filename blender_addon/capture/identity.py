"""Who is who when a mesh's topology changes: attributes that modifiers carry along say where each vertex came from.

``id`` (an integer a vertex, unique) names vertices; ``rest_position`` (Blender's own, the position before shape keys
and modifiers) names points of the surface, and a later vertex belongs to the nearest point of the first frame's
surface in rest space. Where there is neither, as in fluids and remeshing, nothing can be followed.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import Iterator

import bpy
import msgspec
import numpy as np
from mathutils.bvhtree import BVHTree

NAME, REST = "id", "rest_position"
RESHAPING = {
    "ARRAY", "BEVEL", "BOOLEAN", "BUILD", "DECIMATE", "EDGE_SPLIT", "EXPLODE", "MASK", "MIRROR", "NODES", "SCREW",
    "TRIANGULATE", "WELD", "WIREFRAME",
}  # fmt: skip
SAME = 0.05  # of the surface's size in rest space: by less, a vertex has not become another
EXACT = 1e-5  # the same where vertices were cut, whose rim slides along the surface
FAR = 0.03  # of the surface's size in rest space: farther away a vertex was made by a modifier, not carried along
OFF = 0.01  # of the same size: nearer, a triangle lies on the first surface, however it is turned
TURNED = 0.3  # cosine between a triangle and the first surface below which it is another surface, such as a cut's
TURNED_OVER = -0.9  # the same where a triangle is inside out, as the copies that a Mirror makes are in rest space
STILL = 0.25  # of a mesh's vertices: where so many keep still, one without rest positions is not deformed but cut
RIM = 0.003  # of the same size: how far from the first surface a guessed vertex may lie
ROUNDS = 8  # vertices that a modifier made without a rest position lie at most so many edges from one that has it


class Identity(msgspec.Struct):
    """A mesh's attribute: ``values`` i32 [V] for ``id``, f32 [V,3] for ``rest_position``, which is ``guessed`` (bool
    [V]) from the neighbours where vertices had none. ``nameless`` (bool [V]) are those whose value says nothing:
    geometry that a modifier has joined, where nobody near has a rest position, and copies, such as a mirrored half."""

    kind: str
    values: np.ndarray
    guessed: np.ndarray | None = None
    nameless: np.ndarray | None = None

    def same_as(self, other: Identity | None) -> bool:
        """Are these the same vertices, where connectivity is equal? A Bevel that bends along moves rest positions a
        little, which changes nobody; the nameless are who their number says, as in a mesh without attributes."""
        if other is None or self.kind != other.kind or len(self.values) != len(other.values):
            return False
        if self.kind == NAME:
            return np.array_equal(self.values, other.values)
        if self.guessed is None and other.guessed is None:
            return _is_near(self.values, other.values, SAME)
        if self.without_names and other.without_names:
            still = np.abs(self.values - other.values).max(axis=1) <= EXACT * np.ptp(self.values, axis=0).max()
            return bool(still.all() or still.mean() < STILL)
        named = ~(_mask(self.nameless, self.values) | _mask(other.nameless, self.values))
        return _is_near(self.values[named], other.values[named], EXACT)

    @property
    def without_names(self) -> bool:
        """Has no vertex a rest position, as after the Boolean of Blender 4.5? Their local positions stand for them."""
        return self.guessed is not None and bool(self.guessed.all()) and len(self.guessed) > 0


def _is_near(values: np.ndarray, others: np.ndarray, share: float) -> bool:
    """Do two [V,3] differ by less than this share of their size?"""
    return not len(values) or bool(np.abs(values - others).max() <= share * np.ptp(values, axis=0).max())


def _mask(mask: np.ndarray | None, values: np.ndarray) -> np.ndarray:
    return np.zeros(len(values), bool) if mask is None else mask


class Followed(msgspec.Struct):
    """A mesh's place in the first frame. ``extra`` i32 [E]: vertices that occur once more, after the others, because
    triangles that are followed and others that are not share them."""

    rest: np.ndarray  # f32 [V+E,3], world
    tracked: np.ndarray  # bool [V+E]
    triangles: np.ndarray  # i32 [M,3]
    extra: np.ndarray


def read_identity(mesh: bpy.types.Mesh, local: np.ndarray) -> Identity | None:
    """The identity of a mesh with vertices at ``local`` f32 [V,3]."""
    stored = _stored(mesh, NAME, "INT", np.empty(len(local), np.int32))
    if stored is not None and len(np.unique(stored)) == len(stored):
        return Identity(NAME, stored)
    stored = _stored(mesh, REST, "FLOAT_VECTOR", np.empty((len(local), 3), np.float32))
    if stored is None:
        return None
    missing = ~stored.any(axis=1)
    if missing.sum() < 2:  # one may lie at the origin by right; a cut makes three or more
        return Identity(REST, stored)
    if missing.all():
        return Identity(REST, local, missing)
    edges = _edges(mesh)
    missing &= ~_at_origin(missing, edges)
    copies = np.zeros(len(stored), bool)
    copies[~missing] = borrowed(stored[~missing], local[~missing])
    values, reached = completed(stored, local, missing | copies, edges)
    return Identity(REST, values, missing | copies, copies | ~reached)


def _stored(mesh: bpy.types.Mesh, name: str, kind: str, values: np.ndarray) -> np.ndarray | None:
    attribute = mesh.attributes.get(name)
    if attribute is None or attribute.domain != "POINT" or attribute.data_type != kind:
        return None
    attribute.data.foreach_get("value" if kind == "INT" else "vector", values.reshape(-1))
    return values


def _edges(mesh: bpy.types.Mesh) -> np.ndarray:
    edges = np.empty((len(mesh.edges), 2), np.int32)
    mesh.edges.foreach_get("vertices", edges.reshape(-1))
    return edges


def _at_origin(missing: np.ndarray, edges: np.ndarray) -> np.ndarray:
    """bool [V]: the one vertex without a rest position whose neighbours all have one, which lies at the origin by right."""
    alone = np.zeros(len(missing), bool)
    alone[edges] = True
    alone[edges[missing[edges].all(axis=1)]] = False
    alone &= missing
    return alone & (alone.sum() == 1)


def borrowed(values: np.ndarray, local: np.ndarray) -> np.ndarray:
    """bool [V]: vertices with the rest position of another one that lies nearer to it. Blender 5.2's Boolean, which
    leaves the vertices of the cut without any, gives such to the cutter's."""
    order = np.lexsort(values.T)
    starts = np.flatnonzero(np.r_[True, (values[order[1:]] != values[order[:-1]]).any(axis=1)])
    taken = np.zeros(len(values), bool)
    offset = np.linalg.norm(values[order] - local[order], axis=1)
    least = np.repeat(np.minimum.reduceat(offset, starts), np.diff(np.r_[starts, len(order)]))
    taken[order] = offset > least + 1e-4 * np.ptp(local, axis=0).max()
    return taken


def completed(values: np.ndarray, local: np.ndarray, missing: np.ndarray, edges: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rest positions f32 [V,3] where ``missing`` ones [V] lie from their local position [V,3] as far as their
    neighbours along ``edges`` [E,2] do, and which vertices (bool [V]) have one; the local position where none does."""
    offset, known = values - local, ~missing
    offset[missing] = 0
    for _ in range(ROUNDS):
        here, there = np.concatenate([edges, edges[:, ::-1]]).T
        chosen = ~known[here] & known[there]
        here, there = here[chosen], there[chosen]
        if not len(here):
            break
        count = np.bincount(here, minlength=len(offset))
        total = np.stack([np.bincount(here, offset[there, axis], len(offset)) for axis in range(3)], axis=1)
        found = count > 0
        offset[found], known = total[found] / count[found, None], known | found
    return local + offset, known


class FirstSurface:
    """A first-frame mesh: positions f32 [V,3] (world), triangles i32 [M,3] and its identity.

    ``ambiguous`` where rest positions do not tell its parts from each other: it cannot be followed then.
    """

    def __init__(self, identity: Identity, positions: np.ndarray, triangles: np.ndarray):
        self.identity, self.positions, self.triangles = identity, positions, triangles
        self._tree: BVHTree | None = None
        if identity.kind == NAME:
            self._order, self.ambiguous = np.argsort(identity.values), False
        else:
            self._build_tree()
            self.ambiguous = self._shares_places()

    def _shares_places(self) -> bool:
        """Do several places of the surface share a rest position, as the halves that a Mirror makes do?"""
        values = self.identity.values[np.unique(self._solid)]
        places = self.positions[np.unique(self._solid)]
        grain = max(float(np.ptp(values, axis=0).max(initial=0)) * 1e-5, 1e-9)
        cells = np.rint(values / grain).astype(np.int64)
        _, number, count = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
        shared = np.flatnonzero(count[number.reshape(-1)] > 1)
        if not len(shared):
            return False
        order = shared[np.argsort(number.reshape(-1)[shared], kind="stable")]
        same = number.reshape(-1)[order[1:]] == number.reshape(-1)[order[:-1]]
        apart = np.linalg.norm(places[order[1:]] - places[order[:-1]], axis=1)
        return bool((same & (apart > 1e-4 * max(float(np.ptp(places, axis=0).max()), 1e-9))).any())

    def follow(self, identity: Identity, triangles: np.ndarray) -> Followed:
        """Where the vertices of a later mesh, of the same kind of identity, were."""
        rest, tracked = self._by_name(identity.values) if identity.kind == NAME else self._by_rest(identity)
        followed = Followed(rest, tracked, triangles, np.zeros(0, np.int32))
        return followed if identity.kind == NAME else self._without_cuts(followed, identity.values)

    def _by_name(self, names: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        own = self.identity.values[self._order]
        place = np.minimum(np.searchsorted(own, names), len(own) - 1)
        return self.positions[self._order[place]], own[place] == names

    def _build_tree(self) -> None:
        values = self.identity.values
        corners = values[self.triangles].astype(np.float64)
        area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
        self._size = float(np.linalg.norm(np.ptp(values, axis=0))) if len(values) else 0.0
        self._solid = self.triangles[area > 1e-10 * self._size**2]
        if len(self._solid):
            self._tree = BVHTree.FromPolygons(values.tolist(), self._solid.tolist(), all_triangles=True)

    def _by_rest(self, identity: Identity) -> tuple[np.ndarray, np.ndarray]:
        values = identity.values
        places, _, faces, found = self._nearest(values)
        if identity.guessed is not None:  # the rim of a cut lies on the surface; its depth does not, however near
            found &= ~identity.guessed | (np.linalg.norm(places - values, axis=1) <= RIM * self._size)
            found &= self._placed(identity)
        rest = np.zeros((len(values), 3), np.float32)
        if found.any():
            corners = self._solid[faces[found]]
            weights = _barycentric(places[found], self.identity.values[corners].astype(np.float64))
            rest[found] = np.einsum("nk,nkc->nc", weights, self.positions[corners])
        return rest, found

    def _placed(self, identity: Identity) -> np.ndarray:
        """bool [V]: vertices whose value is a place in rest space. Local positions are where all that has no rest
        position keeps still, or most of a mesh without any; what moved could be anywhere."""
        nameless = identity.guessed if identity.without_names else identity.nameless
        before = set(map(tuple, self.identity.values.tolist()))
        still = np.array([each in before for each in map(tuple, identity.values[nameless].tolist())], bool)
        enough = len(still) and still.mean() >= (STILL if identity.without_names else 1)
        return ~nameless | bool(enough)

    def _without_cuts(self, followed: Followed, values: np.ndarray) -> Followed:
        """Triangles whose corners lie on the first surface and which do not are the faces of a cut: untracked."""
        whole = np.flatnonzero(followed.tracked[followed.triangles].all(axis=1))
        if not len(whole) or self._tree is None:
            return followed
        corners = values[followed.triangles[whole]].astype(np.float64)
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        normals /= np.maximum(np.linalg.norm(normals, axis=1), 1e-30)[:, None]
        middles = corners.mean(axis=1)
        places, near, _, found = self._nearest(middles)
        off = np.linalg.norm(places - middles, axis=1) > OFF * self._size
        facing = np.einsum("nk,nk->n", normals, near)
        cut = whole[~found | (off & (facing < TURNED)) | (facing < TURNED_OVER)]
        return _parted(followed, cut) if len(cut) else followed

    def _nearest(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Nearest places f64 [N,3], normals [N,3] and triangles [N] of the first surface, and where there is one."""
        places, normals = np.zeros((len(points), 3)), np.zeros((len(points), 3))
        faces, found = np.zeros(len(points), np.intp), np.zeros(len(points), bool)
        if self._tree is None:
            return places, normals, faces, found
        find, reach = self._tree.find_nearest, FAR * self._size
        for index, point in enumerate(points.tolist()):
            place, normal, face, _ = find(point, reach)
            if face is not None:
                places[index], normals[index], faces[index], found[index] = place, normal, face, True
        return places, normals, faces, found


def _parted(followed: Followed, cut: np.ndarray) -> Followed:
    """The cut's triangles get vertices of their own, which are not tracked."""
    triangles, count = followed.triangles.copy(), len(followed.rest)
    extra, number = np.unique(triangles[cut], return_inverse=True)
    triangles[cut] = count + number.reshape(-1, 3)
    shared = np.zeros(count, bool)
    shared[triangles[triangles < count]] = True  # corners of other triangles too
    return Followed(
        np.concatenate([followed.rest, followed.rest[extra]]),
        np.concatenate([followed.tracked & shared, np.zeros(len(extra), bool)]),
        triangles,
        extra,
    )


def _barycentric(points: np.ndarray, corners: np.ndarray) -> np.ndarray:
    """Weights [N,3] of points in the planes of triangles [N,3,3] (Ericson, Real-Time Collision Detection, 3.4)."""
    first, second, point = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0], points - corners[:, 0]
    d00, d01, d11 = (np.einsum("nk,nk->n", a, b) for a, b in ((first, first), (first, second), (second, second)))
    d20, d21 = (np.einsum("nk,nk->n", point, side) for side in (first, second))
    area = d00 * d11 - d01 * d01
    v, w = (d11 * d20 - d01 * d21) / area, (d00 * d21 - d01 * d20) / area
    return np.stack([1 - v - w, v, w], axis=1)


@contextmanager
def rest_positions(things: list[bpy.types.Object]) -> Iterator[None]:
    """Blender's rest_position attribute on every mesh whose modifiers may change its topology, off again afterwards."""
    switched = [thing for thing in things if _may_reshape(thing) and not thing.add_rest_position_attribute]
    try:
        for thing in switched:
            thing.add_rest_position_attribute = True
        yield
    finally:
        with suppress(ReferenceError):  # an undo has set them back, or another file was opened
            for thing in switched:
                thing.add_rest_position_attribute = False


def _may_reshape(thing: bpy.types.Object) -> bool:
    return thing.type == "MESH" and any(modifier.type in RESHAPING and modifier.show_render for modifier in thing.modifiers)
