"""A scene to make training clips of: ``python clip_scene.py FILE.blend``. Shapes run, turn and grow on a floor for 200 frames."""

import sys
from pathlib import Path

LAST = 200
SHAPES = {
    "Block": ("primitive_cube_add", {"size": 1.6}, [(-3, -1, 0.8), (0, 1, 0.8), (3, -1.5, 0.8), (0, 0, 0.8), (-3, -1, 0.8)]),
    "Ball": ("primitive_uv_sphere_add", {"radius": 0.9, "segments": 16, "ring_count": 8}, [(2, 2, 0.9), (-2, 2.5, 1.8), (-3, -2, 0.9), (2, -2, 2.2), (2, 2, 0.9)]),
    "Spike": ("primitive_cone_add", {"radius1": 0.8, "depth": 2, "vertices": 12}, [(0, -3, 1), (2.5, 0, 1), (0, 3, 1), (-2.5, 0, 1), (0, -3, 1)]),
}


def build(file: Path) -> None:
    import bpy

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine, scene.view_settings.view_transform = "BLENDER_WORKBENCH", "Standard"
    scene.frame_start, scene.frame_end = 1, LAST
    scene.world = bpy.data.worlds.new("World")
    bpy.ops.mesh.primitive_plane_add(size=14)
    bpy.context.object.name = "Floor"
    for name, (add, size, path) in SHAPES.items():
        getattr(bpy.ops.mesh, add)(**size)
        shape = bpy.context.object
        shape.name = name
        for step, place in enumerate(path):
            frame = 1 + step * (LAST - 1) / (len(path) - 1)
            shape.location, shape.rotation_euler = place, (0.4 * step, 0.3 * step, 1.7 * step)
            shape.keyframe_insert("location", frame=frame)
            shape.keyframe_insert("rotation_euler", frame=frame)
    bpy.ops.object.camera_add(location=(0, -11, 5), rotation=(1.17, 0, 0))
    scene.camera = bpy.context.object
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)


if __name__ == "__main__":
    build(Path(sys.argv[1]))
    from diffusion_as_shader.shared.processes import end_process

    end_process(0)
