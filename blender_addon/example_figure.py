"""The example's walking figure: one skinned mesh, an armature and a walk, made from a stick figure.

The figure stands on z = 0, looks along -y and is about 1.8 units tall.
"""

from __future__ import annotations

import math

import bmesh
import bpy
import numpy as np
from mathutils import Matrix, Quaternion, Vector

from .example_materials import image_material, set_uv

SKIN, SHIRT, STRIPE = (0.96, 0.72, 0.52), (0.93, 0.30, 0.20), (0.99, 0.93, 0.80)
TROUSERS, SHOES, DARK = (0.13, 0.24, 0.45), (0.98, 0.78, 0.20), (0.06, 0.06, 0.10)

# Bones of the middle and of the left side: head and tail, parent, and the thickness at each end.
BONES = {
    "spine": ((0, 0, 0.92), (0, 0, 1.22), None, 0.17, 0.17),
    "chest": ((0, 0, 1.22), (0, 0, 1.46), "spine", 0.17, 0.15),
    "head": ((0, 0, 1.50), (0, 0, 1.76), "chest", 0.08, 0.08),
    "arm": ((0.17, 0, 1.42), (0.42, 0.01, 1.24), "chest", 0.085, 0.07),
    "forearm": ((0.42, 0.01, 1.24), (0.64, -0.02, 1.06), "arm", 0.07, 0.085),
    "thigh": ((0.12, 0, 0.88), (0.13, -0.02, 0.50), "spine", 0.12, 0.09),
    "shin": ((0.13, -0.02, 0.50), (0.13, 0.02, 0.10), "thigh", 0.09, 0.08),
    "foot": ((0.13, 0.02, 0.10), (0.13, -0.18, 0.07), "shin", 0.09, 0.085),
}
HEAD_CENTRE, HEAD_RADIUS = (0, -0.01, 1.76), 0.25
SIDED = ("arm", "forearm", "thigh", "shin", "foot")
HALF_WIDTH, HEIGHT = 0.8, 2.0  # what the painted image covers: x from -0.8 to 0.8, z from 0 to 2
WALK_PERIOD = 24  # frames
STRIDE = 1.5  # units in one period


def skeleton() -> dict[str, tuple]:
    """Every bone of both sides by name: head, tail, parent's name, radius at head, radius at tail."""
    bones = {}
    for name, (head, tail, parent, thick, thin) in BONES.items():
        for side, sign in (("", 1),) if name not in SIDED else ((".L", 1), (".R", -1)):
            mirrored = [(sign * x, y, z) for x, y, z in (head, tail)]
            bones[name + side] = (*mirrored, parent + side if parent in SIDED else parent, thick, thin)
    return bones


def make_figure(collection: bpy.types.Collection) -> bpy.types.Object:
    """The armature object with its skinned mesh as child, both in ``collection``, without animation."""
    armature = _make_armature(collection)
    mesh = _make_body()
    mesh.materials.append(image_material("Figure", painted_figure(512)))
    body = bpy.data.objects.new("Figure", mesh)
    collection.objects.link(body)
    body.parent = armature
    _weigh(body)
    body.modifiers.new("Armature", "ARMATURE").object = armature
    subdivision = body.modifiers.new("Subdivision", "SUBSURF")
    subdivision.levels, subdivision.render_levels = 1, 2
    return armature


def _make_armature(collection: bpy.types.Collection) -> bpy.types.Object:
    armature = bpy.data.objects.new("Walker", bpy.data.armatures.new("Walker"))
    collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    bones = skeleton()
    edit = {name: armature.data.edit_bones.new(name) for name in bones}
    for name, (head, tail, parent, *_) in bones.items():
        edit[name].head, edit[name].tail = head, tail
        edit[name].parent = edit[parent] if parent else None
    bpy.ops.object.mode_set(mode="OBJECT")
    return armature


def _make_body() -> bpy.types.Mesh:
    """The stick figure thickened by a Skin modifier, as a mesh of its own."""
    sticks = bpy.data.meshes.new("Sticks")
    points, edges, radii = _sticks()
    sticks.from_pydata(points, edges, [])
    stick_object = bpy.data.objects.new("Sticks", sticks)
    bpy.context.scene.collection.objects.link(stick_object)
    stick_object.modifiers.new("Skin", "SKIN").use_smooth_shade = True
    for point, radius in zip(sticks.skin_vertices[0].data, radii):
        point.radius = (radius, radius)
    sticks.skin_vertices[0].data[0].use_root = True
    depsgraph = bpy.context.evaluated_depsgraph_get()
    body = bpy.data.meshes.new_from_object(stick_object.evaluated_get(depsgraph), depsgraph=depsgraph)
    body.name = "Figure"
    bpy.data.objects.remove(stick_object)
    bpy.data.meshes.remove(sticks)
    _add_head(body)
    _unwrap_front_and_back(body)
    return body


def _add_head(body: bpy.types.Mesh) -> None:
    """A round head around the end of the neck, made of a cube so that it subdivides evenly."""
    shape = bmesh.new()
    shape.from_mesh(body)
    cube = bmesh.ops.create_cube(shape, size=2)["verts"]
    edges = list({edge for corner in cube for edge in corner.link_edges})
    bmesh.ops.subdivide_edges(shape, edges=edges, cuts=3, use_grid_fill=True)
    shape.verts.ensure_lookup_table()
    ball = shape.verts[len(body.vertices) :]
    for corner in ball:
        corner.co = corner.co.normalized()
    bmesh.ops.transform(shape, matrix=Matrix.Translation(HEAD_CENTRE) @ Matrix.Scale(HEAD_RADIUS * 1.06, 4), verts=ball)
    for face in shape.faces:
        face.smooth = True
    shape.to_mesh(body)
    shape.free()


def _sticks() -> tuple[list, list, list]:
    """Points, edges and radii: each bone an edge, joined to its parent's nearer end."""
    points, edges, radii, index = [], [], [], {}

    def vertex(position, radius):
        key = tuple(round(value, 4) for value in position)
        if key not in index:
            index[key] = len(points)
            points.append(position)
            radii.append(radius)
        return index[key]

    bones = skeleton()
    for head, tail, parent, thick, thin in bones.values():
        start, end = vertex(head, thick), vertex(tail, thin)
        edges.append((start, end))
        if parent:
            ends = [vertex(bones[parent][end], 0) for end in (0, 1)]
            nearest = min(ends, key=lambda other: (Vector(points[other]) - Vector(head)).length)
            if nearest != start:
                edges.append((nearest, start))
    return points, edges, radii


def _unwrap_front_and_back(mesh: bpy.types.Mesh) -> None:
    """Seen from the front in the image's left half, from the back in the right one."""
    uv = np.empty((len(mesh.loops), 2), np.float32)
    for face in mesh.polygons:
        for loop in face.loop_indices:
            x, _, z = mesh.vertices[mesh.loops[loop].vertex_index].co
            across = (x / HALF_WIDTH + 1) / 4
            uv[loop] = (across if face.normal.y < 0 else across + 0.5, z / HEIGHT)
    set_uv(mesh, uv)


def _weigh(body: bpy.types.Object) -> None:
    """Vertex groups by inverse distance to the bones: smooth, and good enough for a toy."""
    bones = skeleton()
    positions = np.array([vertex.co for vertex in body.data.vertices])
    nearness = np.stack([_distance(positions, np.array(b[0]), np.array(b[1])) ** -6 for b in bones.values()])
    weights = nearness / nearness.sum(axis=0)
    for name, row in zip(bones, weights):
        group = body.vertex_groups.new(name=name)
        for index in np.flatnonzero(row > 0.01):
            group.add([int(index)], float(row[index]), "REPLACE")


def _distance(points: np.ndarray, head: np.ndarray, tail: np.ndarray) -> np.ndarray:
    """Distance of points [N,3] to the segment from head to tail, [N]."""
    along = tail - head
    share = np.clip((points - head) @ along / (along @ along), 0, 1)
    return np.maximum(np.linalg.norm(points - head - share[:, None] * along, axis=1), 1e-3)


def painted_figure(size: int) -> np.ndarray:
    """The figure's image f32 [size, 2*size, 3], row 0 at the bottom: the front, then the back."""
    z, across = np.mgrid[0:size, 0 : 2 * size].astype(np.float32)
    z = (z + 0.5) / size * HEIGHT
    front = across < size
    x = np.abs(((across + 0.5) % size) / size * 2 - 1) * HALF_WIDTH
    pixels = np.broadcast_to(np.array(SHIRT, np.float32), (*z.shape, 3)).copy()

    def paint(mask, colour):
        pixels[mask] = colour

    reach = np.where(x > 0.2, np.hypot(x - 0.17, 1.42 - z), z)  # along the arm, or up the body
    paint(reach % 0.16 < 0.07, STRIPE)
    paint((x > 0.2) & (z > 0.9) & (np.hypot(x - 0.17, 1.42 - z) > 0.47), SKIN)
    paint(z < 0.98, TROUSERS)
    paint((z < 0.98) & (np.abs(x - 0.13) < 0.018), STRIPE)
    paint((z < 0.98) & (z > 0.93), SHOES)
    paint(z < 0.16, SHOES)
    paint(z < 0.035, DARK)
    paint((z > 1.50) & (x < 0.4), SKIN)
    paint((z > 1.88) | (~front & (z > 1.60)), DARK)
    paint((z > 1.83) & (z < 1.88), SHIRT)
    paint(front & (np.hypot(x - 0.09, (z - 1.755) * 0.7) < 0.03), DARK)
    paint(front & (z < 1.67) & (np.abs(np.hypot(x, z - 1.72) - 0.10) < 0.014), SHIRT)
    return pixels


def animate_walk(armature: bpy.types.Object, start: int, end: int) -> None:
    """A walk on the spot by keyframes on the pose bones; the object itself is moved by the scene."""
    for frame in range(start, end + 1, 2):
        phase = 2 * math.pi * (frame - start) / WALK_PERIOD
        for side, swing in ((".L", math.sin(phase)), (".R", -math.sin(phase))):
            lifted = math.cos(phase) if side == ".L" else -math.cos(phase)
            bend = 0.22 + 0.8 * max(0.0, lifted)
            _turn(armature, "thigh" + side, frame, x=-0.5 * swing - 0.2 * max(0.0, lifted))
            _turn(armature, "shin" + side, frame, x=bend)
            _turn(armature, "foot" + side, frame, x=-0.1 - 0.2 * swing)
            outward = 0.62 if side == ".L" else -0.62
            _turn(armature, "arm" + side, frame, x=0.6 * swing, y=outward)
            _turn(armature, "forearm" + side, frame, x=-0.45 + 0.2 * swing)
        _turn(armature, "chest", frame, z=0.18 * math.sin(phase), x=-0.03)
        _turn(armature, "head", frame, z=-0.12 * math.sin(phase), y=0.05 * math.sin(phase))
        hips = armature.pose.bones["spine"]
        hips.location = (0, 0.035 * math.cos(2 * phase) - 0.03, 0)
        hips.keyframe_insert("location", frame=frame)


def _turn(armature: bpy.types.Object, bone: str, frame: int, x: float = 0, y: float = 0, z: float = 0) -> None:
    """Turn a bone about the armature's own axes (radians; y first) whatever its roll, and key it."""
    pose = armature.pose.bones[bone]
    turn = Quaternion((1, 0, 0), x) @ Quaternion((0, 0, 1), z) @ Quaternion((0, 1, 0), y)
    rest = pose.bone.matrix_local.to_quaternion()
    pose.rotation_mode = "QUATERNION"
    pose.rotation_quaternion = rest.inverted() @ turn @ rest
    pose.keyframe_insert("rotation_quaternion", frame=frame)
