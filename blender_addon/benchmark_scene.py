"""A scene of about 100,000 triangles with an armature and a subdivision, built for `das benchmark tracking`."""

from __future__ import annotations

import math

import bpy
import numpy as np

TRIANGLES = 100_000
PER_QUAD = 32  # triangles that two levels of subdivision make of a quad
LENGTH, RADIUS = 3.0, 0.45
BONES = 8
START, END = 1, 49


def build_benchmark_scene(triangles: int = TRIANGLES) -> bpy.types.Scene:
    """A bending tube of about so many triangles under an orbiting camera, in the current, empty scene; frames
    1 to 49."""
    side = round(math.sqrt(triangles / PER_QUAD))
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = START, END
    scene.render.resolution_x, scene.render.resolution_y = 720, 480
    scene.render.engine = "BLENDER_WORKBENCH"
    armature = _make_armature(scene)
    tube = bpy.data.objects.new("Tube", _make_tube(side))
    scene.collection.objects.link(tube)
    _weigh(tube, side)
    tube.modifiers.new("Armature", "ARMATURE").object = armature
    subdivision = tube.modifiers.new("Subdivision", "SUBSURF")
    subdivision.levels = subdivision.render_levels = 2
    scene.camera = _make_camera(scene)
    scene.frame_set(START)
    return scene


def _make_tube(side: int) -> bpy.types.Mesh:
    """``side`` quads around and as many along."""
    ring = np.arange(side) * (2 * math.pi / side)
    height = np.linspace(0, LENGTH, side + 1)
    points = [(RADIUS * math.cos(a), RADIUS * math.sin(a), z) for z in height for a in ring]
    corner = np.arange(side)[:, None] * side + np.arange(side)
    beside = np.arange(side)[:, None] * side + (np.arange(side) + 1) % side
    quads = np.stack([corner, beside, beside + side, corner + side], axis=-1).reshape(-1, 4)
    mesh = bpy.data.meshes.new("Tube")
    mesh.from_pydata(points, [], quads.tolist())
    return mesh


def _make_armature(scene: bpy.types.Scene) -> bpy.types.Object:
    armature = bpy.data.objects.new("Spine", bpy.data.armatures.new("Spine"))
    scene.collection.objects.link(armature)
    bpy.context.view_layer.objects.active = armature
    bpy.ops.object.mode_set(mode="EDIT")
    below = None
    for index in range(BONES):
        bone = armature.data.edit_bones.new(f"Bone {index}")
        bone.head, bone.tail = (0, 0, index * LENGTH / BONES), (0, 0, (index + 1) * LENGTH / BONES)
        bone.parent, below = below, bone
    bpy.ops.object.mode_set(mode="OBJECT")
    for bone in armature.pose.bones:
        bone.rotation_mode = "XYZ"
        for frame in range(START, END + 1, 6):
            bone.rotation_euler = (0.16 * math.sin(frame / 8), 0, 0.1 * math.cos(frame / 6))
            bone.keyframe_insert("rotation_euler", frame=frame)
    return armature


def _weigh(tube: bpy.types.Object, side: int) -> None:
    """Each ring between the two bones that it lies nearest to."""
    groups = [tube.vertex_groups.new(name=f"Bone {index}") for index in range(BONES)]
    for ring in range(side + 1):
        place = min(max(ring / side * BONES - 0.5, 0), BONES - 1)
        below = min(int(place), BONES - 2)
        share = place - below
        rows = list(range(ring * side, (ring + 1) * side))
        groups[below].add(rows, 1 - share, "REPLACE")
        groups[below + 1].add(rows, share, "REPLACE")


def _make_camera(scene: bpy.types.Scene) -> bpy.types.Object:
    target = bpy.data.objects.new("Target", None)
    target.location = (0, 0, LENGTH / 2)
    camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    for made in (target, camera):
        scene.collection.objects.link(made)
    follow = camera.constraints.new("TRACK_TO")
    follow.target, follow.track_axis, follow.up_axis = target, "TRACK_NEGATIVE_Z", "UP_Y"
    for frame in range(START, END + 1, 6):
        angle = math.radians(frame)
        camera.location = (5.5 * math.sin(angle), -5.5 * math.cos(angle), 2)
        camera.keyframe_insert("location", frame=frame)
    return camera
