"""A zoo of small scenes: makers of one kind of thing each, and how to read what was captured of it.

Nine whole frames, 96x64. What moves goes ``shift(frame)`` along x unless it says otherwise, so that the place of every
tracked point follows from its first-frame position without asking Blender.
"""

from __future__ import annotations

from typing import Callable, Iterable

import bpy
import msgspec
import numpy as np

from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer
from diffusion_as_shader.blender_addon.capture.frames import GeometryFrame
from diffusion_as_shader.blender_addon.capture.geometry import capture

from .scenes import REQUEST

ZOO = msgspec.structs.replace(REQUEST, start=1, end=9)
STEP = 0.2
Motion = Callable[[np.ndarray, float], np.ndarray]


class Film(msgspec.Struct):
    """What a capture found, read into memory."""

    frames: list[GeometryFrame]
    object_names: list[str]
    notes: list[str]
    untracked: dict[str, str]  # name to reason

    def rows(self, frame: GeometryFrame, name: str) -> np.ndarray:
        """bool [V]: the vertices of all instances of an object."""
        numbers = [number for number, other in enumerate(self.object_names, 1) if other == name]
        return np.isin(frame.objects, numbers)

    def positions(self, index: int, name: str) -> np.ndarray:
        frame = self.frames[index]
        return frame.positions[self.rows(frame, name)]

    def seen(self, index: int, row: int = 32, column: int = 48) -> tuple[str, bool]:
        """Whose surface a pixel shows ("" for none), and whether it is tracked."""
        drawn = NumpyDrawer().draw(self.frames[index])
        number = int(drawn.objects[row, column])
        return self.object_names[number - 1] if number else "", bool(drawn.tracked[row, column])


def film(scene: bpy.types.Scene, request=ZOO) -> Film:
    with capture(scene, request) as captured:
        frames = [msgspec.structs.replace(frame, positions=np.array(frame.positions)) for frame in captured.frames]
        reasons = {each.name: each.reason for each in captured.untracked}
        return Film(frames, captured.object_names, captured.notes, reasons)


# checks


def shift(frame: float) -> np.ndarray:
    return np.array((STEP * (frame - 1), 0, 0))


def shifted(rest: np.ndarray, frame: float) -> np.ndarray:
    """Where ``slide`` has brought what was at ``rest`` in frame 1."""
    return rest + shift(frame)


def still(rest: np.ndarray, frame: float) -> np.ndarray:
    return rest


def assert_follows(found: Film, name: str, motion: Motion, share: float = 1.0, atol: float = 2e-5) -> None:
    """In every frame each tracked vertex is where ``motion`` brings its first-frame position, and at least ``share`` of
    them are tracked."""
    for frame in found.frames:
        mine = found.rows(frame, name)
        assert mine.any(), (name, frame.frame, found.object_names)
        tracked = mine & frame.tracked
        assert tracked.sum() >= share * mine.sum(), (name, frame.frame, tracked.sum(), mine.sum(), found.untracked)
        error = np.abs(frame.positions[tracked] - motion(frame.rest[tracked].astype(float), frame.frame)).max(initial=0)
        assert error < atol, (name, frame.frame, error)


def assert_follows_or_is_named(found: Film, name: str, motion: Motion, atol: float = 2e-5) -> None:
    """What is tracked is right in every frame, and what is not is said."""
    assert_follows(found, name, motion, share=0.0, atol=atol)
    if not all(frame.tracked[found.rows(frame, name)].all() for frame in found.frames):
        assert found.untracked.get(name), found.untracked


def viewport(scene: bpy.types.Scene, name: str, frame: int) -> np.ndarray:
    """An object's world positions [V,3] at a frame, in Blender's own viewport."""
    scene.frame_set(frame)
    thing = bpy.data.objects[name].evaluated_get(bpy.context.evaluated_depsgraph_get())
    mesh = thing.to_mesh()
    local = np.array([vertex.co for vertex in mesh.vertices]).reshape(-1, 3)
    matrix = np.array(thing.matrix_world)
    thing.to_mesh_clear()
    return local @ matrix[:3, :3].T + matrix[:3, 3]


def assert_as_in_the_viewport(scene: bpy.types.Scene, found: Film, name: str, atol: float = 2e-5, moves: bool = True) -> None:
    """Every frame holds the vertices that playing the scene in the viewport from frame 1 on shows, in their order, all
    tracked to the first captured frame's."""
    played = [viewport(scene, name, frame) for frame in range(1, round(found.frames[-1].frame) + 1)]
    expected = [played[round(frame.frame) - 1] for frame in found.frames]
    for index, frame in enumerate(found.frames):
        mine = found.rows(frame, name)
        assert frame.tracked[mine].all() and np.allclose(frame.positions[mine], expected[index], atol=atol)
        assert np.allclose(frame.rest[mine], expected[0], atol=atol)
    assert not moves or np.abs(expected[-1] - expected[0]).max() > 0.1


# makers


def stage() -> bpy.types.Scene:
    """An empty file with a camera at (0, -12, 0) that looks along y."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_end = 9
    scene.render.resolution_x, scene.render.resolution_y = ZOO.width, ZOO.height
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    camera.location, camera.rotation_euler = (0, -12, 0), (np.pi / 2, 0, 0)
    scene.collection.objects.link(camera)
    scene.camera = camera
    scene.frame_set(1)
    return scene


def named(name: str) -> bpy.types.Object:
    """The object that an operator has just made, under a name."""
    thing = bpy.context.object
    thing.name = name
    return thing


def cube(name: str = "Cube", size: float = 1.0, **place) -> bpy.types.Object:
    bpy.ops.mesh.primitive_cube_add(size=size, **place)
    return named(name)


def grid(name: str = "Grid", cells: int = 6, **place) -> bpy.types.Object:
    """A square from -1 to 1 in its own xy plane."""
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=cells, y_subdivisions=cells, size=2, **place)
    return named(name)


def empty(name: str, location: Iterable[float] = (0, 0, 0)) -> bpy.types.Object:
    thing = bpy.data.objects.new(name, None)
    thing.location = location
    bpy.context.scene.collection.objects.link(thing)
    return thing


def collection(name: str, *things: bpy.types.Object, into: bpy.types.Collection | None = None) -> bpy.types.Collection:
    """A collection that takes objects out of the scene; linked ``into`` another one where given."""
    made = bpy.data.collections.new(name)
    for thing in things:
        for other in list(thing.users_collection):
            other.objects.unlink(thing)
        made.objects.link(thing)
    if into:
        into.children.link(made)
    return made


def key(block: bpy.types.bpy_struct, path: str, values: dict[int, object]) -> None:
    """Linear keyframes: frame to value."""
    for frame, value in values.items():
        setattr(block, path, value)
        block.keyframe_insert(path, frame=frame)
    animation = block.id_data.animation_data
    for curve in animation.action.layers[0].strips[0].channelbag(animation.action_slot).fcurves:
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"


def slide(thing: bpy.types.Object) -> bpy.types.Object:
    """Keyed to go along x as ``shift`` says."""
    start = np.array(thing.location)
    key(thing, "location", {frame: start + shift(frame) for frame in (1, 9)})
    return thing


def shape_key(thing: bpy.types.Object, deform: Callable[[np.ndarray], np.ndarray]) -> None:
    """A shape key of ``deform(local positions)`` that goes from 0 in frame 1 to 1 in frame 9."""
    thing.shape_key_add(name="Basis")
    block = thing.shape_key_add(name="Deformed")
    local = np.array([point.co for point in block.data])
    for point, place in zip(block.data, deform(local), strict=True):
        point.co = place
    key(block, "value", {1: 0.0, 9: 1.0})


def material(thing: bpy.types.Object, build: Callable[[bpy.types.NodeTree, bpy.types.Node], None]) -> bpy.types.Material:
    """A material whose nodes ``build(tree, output node)`` makes."""
    made = bpy.data.materials.new("Material")
    if not made.node_tree:
        made.use_nodes = True
    made.node_tree.nodes.clear()
    build(made.node_tree, made.node_tree.nodes.new("ShaderNodeOutputMaterial"))
    thing.data.materials.append(made)
    return made


def geometry_nodes(thing: bpy.types.Object, build: Callable) -> None:
    """A node tree: ``build(nodes, input geometry) -> output geometry``."""
    tree = bpy.data.node_groups.new("Nodes", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    source, sink = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    tree.links.new(build(Nodes(tree), source.outputs[0]), sink.inputs[0])
    thing.modifiers.new("Nodes", "NODES").node_group = tree


class Nodes:
    """``nodes("Name", socket=value or other socket, ...)`` makes a geometry node and gives its first output."""

    def __init__(self, tree: bpy.types.NodeTree):
        self.tree = tree

    def __call__(self, kind: str, settings: dict | None = None, out: str | int = 0, **inputs):
        node = self.tree.nodes.new(kind)
        for name, value in (settings or {}).items():
            setattr(node, name, value)
        for name, value in inputs.items():
            socket = node.inputs[int(name[1:])] if name[0] == "_" else node.inputs[name.replace("_", " ")]
            if isinstance(value, bpy.types.NodeSocket):
                self.tree.links.new(value, socket)
            else:
                socket.default_value = value
        return node.outputs[out]

    def math(self, operation: str, *values):
        return self("ShaderNodeMath", {"operation": operation}, **{f"_{index}": value for index, value in enumerate(values)})

    def frame(self):
        return self("GeometryNodeInputSceneTime", out="Frame")
