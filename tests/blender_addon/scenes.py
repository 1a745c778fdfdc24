"""A scene small enough to go the whole way in a second or two."""

import bpy

from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest

REQUEST = GenerationRequest(width=96, height=64, frames=9, start=1, end=12, first_frame=FirstFrame(source="workbench"))


def moving_cube() -> bpy.types.Scene:
    """A new file: a cube that moves before a camera, with a view transform that leaves colours alone."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.view_settings.view_transform = "Standard"
    scene.frame_end = 12
    bpy.ops.mesh.primitive_cube_add(size=1.5)
    cube = bpy.context.object
    for frame, x in ((1, -0.8), (12, 0.8)):
        cube.location.x = x
        cube.keyframe_insert("location", frame=frame)
    bpy.ops.object.camera_add(location=(0, -6, 0), rotation=(1.5708, 0, 0))
    scene.camera = bpy.context.object
    scene.frame_set(5)
    return scene
