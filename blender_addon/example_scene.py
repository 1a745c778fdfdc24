"""The project's own example: a walk through a toy park, made by script in any supported Blender.

A skinned figure walks, a ball rolls past in front of it (surface is hidden and revealed), the camera orbits
and comes closer; trees are collection instances, the sign is a text object. 49 frames at 24 a second,
1280x720, so that the engine's 3:2 window crops the sides.

The first frame is rendered by Cycles with few samples and its denoiser: on a machine without a GPU that takes
a few seconds, where EEVEE's default would take up to a minute.
"""

from __future__ import annotations

import math

import bmesh
import bpy
import numpy as np
from mathutils import Matrix

from .example_figure import STRIDE, WALK_PERIOD, animate_walk, make_figure
from .example_materials import bricks, checker, image_material, linear_from_srgb, plain_material, set_uv, speckles, stripes

START, END = 1, 49
BALL_RADIUS = 0.36
GROUND_SIZE, GROUND_TILES = 48.0, 48
TREES = (  # x, y, scale, turn
    (-5.2, 3.4, 1.15, 0.3), (-3.4, 5.6, 1.0, 1.9), (3.6, 5.4, 1.2, 0.9), (5.6, 3.1, 1.0, 2.5), (7.6, 5.8, 1.35, 4.0),
    (-7.8, 6.4, 1.4, 5.1), (0.6, 8.6, 1.3, 0.2), (-2.9, 0.5, 0.6, 1.2), (3.0, 0.9, 0.62, 3.3), (10.5, 8.5, 1.5, 2.0),
    (-11.5, 9.5, 1.6, 0.7), (5.2, 11.5, 1.6, 1.0), (-5.0, 12.0, 1.7, 2.2),
)  # fmt: skip


def build_example_scene() -> bpy.types.Scene:
    """Build the example into the current, empty file's scene and return that scene."""
    scene = bpy.context.scene
    scene.name = "Example"
    _set_render(scene)
    _add_light(scene)
    _add_ground(scene.collection)
    _add_wall(scene.collection)
    _add_trees(scene.collection)
    _add_sign(scene.collection)
    _add_ball(scene.collection)
    walker = _add_walker(scene.collection)
    scene.camera = _add_camera(scene.collection, walker)
    scene.frame_set(START)
    return scene


def _set_render(scene: bpy.types.Scene) -> None:
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = 1280, 720, 100
    render.fps, scene.frame_start, scene.frame_end = 24, START, END
    render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = 8
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = 2
    scene.view_settings.view_transform = "Standard"
    scene.display.shading.light = "STUDIO"
    scene.display.shading.color_type = "TEXTURE"
    scene.display.shading.show_shadows = True


def _add_light(scene: bpy.types.Scene) -> None:
    world = bpy.data.worlds.new("Sky")
    if world.node_tree is None:
        world.use_nodes = True
    sky = (*linear_from_srgb(np.array([0.62, 0.80, 0.95])), 1.0)
    world.color = sky[:3]
    next(node for node in world.node_tree.nodes if node.type == "BACKGROUND").inputs["Color"].default_value = sky
    scene.world = world
    sun = bpy.data.lights.new("Sun", "SUN")
    sun.energy, sun.angle, sun.color = 2.6, math.radians(3), (1.0, 0.93, 0.82)
    lamp = bpy.data.objects.new("Sun", sun)
    lamp.rotation_euler = (math.radians(48), math.radians(12), math.radians(-38))
    scene.collection.objects.link(lamp)


def _add_mesh(collection, name: str, build, material: bpy.types.Material, smooth: bool = False) -> bpy.types.Object:
    """A new object whose mesh ``build(bmesh)`` makes."""
    mesh = bpy.data.meshes.new(name)
    shape = bmesh.new()
    build(shape)
    shape.to_mesh(mesh)
    shape.free()
    mesh.materials.append(material)
    mesh.polygons.foreach_set("use_smooth", [smooth] * len(mesh.polygons))
    made = bpy.data.objects.new(name, mesh)
    collection.objects.link(made)
    return made


def _spread_uv(mesh: bpy.types.Mesh, axes: tuple[int, int], size: tuple[float, float], offset: float = 0.5) -> None:
    """UVs by a straight view along one axis: coordinates over ``size``, moved by ``offset``."""
    uv = [[mesh.vertices[loop.vertex_index].co[axis] / length + offset for axis, length in zip(axes, size)] for loop in mesh.loops]
    set_uv(mesh, np.array(uv))


def _add_ground(collection: bpy.types.Collection) -> None:
    paving = image_material("Paving", checker(GROUND_TILES, 32, (0.42, 0.52, 0.50), (0.90, 0.86, 0.74)))
    ground = _add_mesh(
        collection, "Ground", lambda shape: bmesh.ops.create_grid(shape, x_segments=24, y_segments=24, size=GROUND_SIZE / 2), paving
    )
    _spread_uv(ground.data, (0, 1), (GROUND_SIZE, GROUND_SIZE))


def _add_wall(collection: bpy.types.Collection) -> None:
    material = image_material("Bricks", bricks(8, 12, (0.72, 0.40, 0.30), (0.85, 0.80, 0.72)))
    wall = _add_mesh(collection, "Wall", lambda shape: bmesh.ops.create_cube(shape, size=1), material)
    wall.data.transform(Matrix.Diagonal((5.4, 0.3, 0.9, 1)))
    _spread_uv(wall.data, (0, 2), (5.4, 0.9))
    wall.location = (0.1, 2.4, 0.45)


def _add_trees(collection: bpy.types.Collection) -> None:
    """One tree in a collection of its own that the scene shows only by instances."""
    tree = bpy.data.collections.new("Tree")
    bark = image_material("Bark", speckles(128, (0.32, 0.22, 0.15), (0.55, 0.40, 0.27), 1))
    leaves = image_material("Leaves", speckles(128, (0.13, 0.38, 0.20), (0.48, 0.72, 0.28), 2))

    def cone(low, high, bottom, top, sides):
        def build(shape):
            uv = shape.loops.layers.uv.new("UVMap")
            bmesh.ops.create_cone(
                shape, cap_ends=True, segments=sides, radius1=bottom, radius2=top, depth=high - low, calc_uvs=True
            )
            bmesh.ops.translate(shape, vec=(0, 0, (low + high) / 2), verts=shape.verts)
            for face in shape.faces:
                for loop in face.loops:
                    x, y, z = loop.vert.co
                    loop[uv].uv = (math.atan2(y, x) / (2 * math.pi) + 0.5, z / 2)

        return build

    _add_mesh(tree, "Trunk", cone(0, 0.8, 0.17, 0.12, 10), bark, smooth=True)
    for level, (low, high, radius) in enumerate(((0.6, 1.6, 0.95), (1.15, 2.1, 0.75), (1.7, 2.7, 0.52))):
        _add_mesh(tree, f"Crown {level}", cone(low, high, radius, 0.02, 14), leaves)
    for x, y, scale, turn in TREES:
        place = bpy.data.objects.new("Tree", None)
        place.instance_type, place.instance_collection = "COLLECTION", tree
        place.location, place.scale, place.rotation_euler = (x, y, 0), (scale,) * 3, (0, 0, turn)
        collection.objects.link(place)


def _add_sign(collection: bpy.types.Collection) -> None:
    text = bpy.data.curves.new("Sign", "FONT")
    text.body, text.align_x = "SHADER", "CENTER"
    text.size, text.extrude, text.bevel_depth = 1.15, 0.12, 0.02
    text.materials.append(plain_material("Sign", (0.98, 0.62, 0.12)))
    sign = bpy.data.objects.new("Sign", text)
    sign.location, sign.rotation_euler = (0.1, 2.4, 0.92), (math.pi / 2, 0, 0)
    collection.objects.link(sign)


def _add_ball(collection: bpy.types.Collection) -> None:
    colours = [(0.92, 0.22, 0.25), (0.98, 0.96, 0.92), (0.16, 0.45, 0.80), (0.98, 0.96, 0.92), (0.98, 0.78, 0.18), (0.98, 0.96, 0.92)]
    material = image_material("Ball", stripes(colours, 384, 192), roughness=0.35)

    def sphere(shape):
        shape.loops.layers.uv.new("UVMap")
        bmesh.ops.create_uvsphere(shape, u_segments=36, v_segments=18, radius=BALL_RADIUS, calc_uvs=True)

    ball = _add_mesh(collection, "Ball", sphere, material, smooth=True)
    for frame, x, hop in ((1, -1.9, 0.0), (9, -1.2, 0.4), (17, -0.5, 0.0), (25, 0.2, 0.26), (33, 0.9, 0.0), (41, 1.5, 0.1), (49, 2.0, 0.0)):
        ball.location = (x, -0.75 - 0.12 * x, BALL_RADIUS + hop)
        ball.rotation_euler = (0.5, x / BALL_RADIUS, 0.2)
        ball.keyframe_insert("location", frame=frame)
        ball.keyframe_insert("rotation_euler", frame=frame)


def _add_walker(collection: bpy.types.Collection) -> bpy.types.Object:
    """The figure, walking from left to right past the sign, turned a little to the camera."""
    walker = make_figure(collection)
    animate_walk(walker, START, END)
    walker.rotation_euler = (0, 0, math.radians(62))
    length = STRIDE * (END - START) / WALK_PERIOD
    heading = (math.sin(math.radians(62)), -math.cos(math.radians(62)))
    for frame in range(START, END + 1, 2):  # close keys: an even pace, without a curve's slow start and end
        along = length * ((frame - START) / (END - START) - 0.5)
        walker.location = (along * heading[0], 0.3 + along * heading[1], 0)
        walker.keyframe_insert("location", frame=frame)
    return walker


def _add_camera(collection: bpy.types.Collection, walker: bpy.types.Object) -> bpy.types.Object:
    """A 35 mm camera that orbits by about 25 degrees, comes closer and keeps its eye on the figure."""
    target = bpy.data.objects.new("Camera target", None)
    collection.objects.link(target)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    collection.objects.link(camera)
    camera.data.lens = 35
    for frame in range(START, END + 1, 6):
        share = (frame - START) / (END - START)
        angle, distance = math.radians(-14 + 26 * share), 5.9 - 0.7 * share
        target.location = (-0.3 + 0.6 * share, 0.4, 1.08)
        camera.location = (distance * math.sin(angle), 0.4 - distance * math.cos(angle), 1.55 + 0.4 * share)
        target.keyframe_insert("location", frame=frame)
        camera.keyframe_insert("location", frame=frame)
    follow = camera.constraints.new("TRACK_TO")
    follow.target, follow.track_axis, follow.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    return camera
