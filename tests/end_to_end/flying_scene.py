"""A scene to learn motion from: ``python flying_scene.py FILE.blend``. Shapes fly about before a dark ground, each half second
elsewhere, for 2000 frames: nothing in a clip's first frame tells where they will go, and no two clips are alike."""

import random
import sys
from pathlib import Path

LAST, EVERY = 2000, 12
SHAPES = {
    "Block": ("primitive_cube_add", {"size": 2.6}, (1, 0.85, 0.2)),
    "Ball": ("primitive_uv_sphere_add", {"radius": 1.5, "segments": 16, "ring_count": 8}, (1, 0.3, 0.2)),
    "Spike": ("primitive_cone_add", {"radius1": 1.5, "depth": 3, "vertices": 12}, (0.9, 0.9, 0.95)),
}


def build(file: Path) -> None:
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine, scene.view_settings.view_transform = "BLENDER_WORKBENCH", "Standard"
    scene.frame_start, scene.frame_end = 1, LAST
    scene.world = bpy.data.worlds.new("World")
    scene.world.color = (0.01, 0.01, 0.03)
    places = random.Random(1)
    for name, (add, size, colour) in SHAPES.items():
        getattr(bpy.ops.mesh, add)(**size)
        shape = bpy.context.object
        shape.name = name
        material = bpy.data.materials.new(name)
        material.diffuse_color = (*colour, 1)
        shape.data.materials.append(material)
        for frame in range(1, LAST + EVERY, EVERY):
            shape.location = (places.uniform(-5, 5), places.uniform(-2, 2), places.uniform(-3, 3))
            shape.rotation_euler = [places.uniform(-0.5, 0.5) for _ in range(3)]
            shape.keyframe_insert("location", frame=frame)
            shape.keyframe_insert("rotation_euler", frame=frame)
    bpy.ops.object.camera_add(location=(0, -16, 0), rotation=(1.5708, 0, 0))
    scene.camera = bpy.context.object
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    from diffusion_as_shader.shared.processes import end_process

    end_process(0)
