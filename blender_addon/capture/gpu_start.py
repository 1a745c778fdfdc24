"""Make the gpu module usable without a window. Run as a program (by path, no package needed) it is the probe for
EGL, without which starting the gpu ends the whole process, in every version."""

import bpy
import gpu
import numpy as np

ANSWER = "the gpu module draws"


def start_gpu() -> None:
    """Nothing in a window; in the background a tiny Workbench render, which leaves a gpu context behind.

    ``gpu.init`` (5.0 and later) does that too, but after a render with grease pencil, which takes the context away, it
    ends the process.
    """
    if bpy.app.background:
        _render_something()


def _render_something() -> None:
    """Four pixels of an empty scene; nothing is left behind."""
    had_result = any(image.type == "RENDER_RESULT" for image in bpy.data.images)
    scene = bpy.data.scenes.new("DaS gpu start")
    data = bpy.data.cameras.new("DaS gpu start")
    camera = bpy.data.objects.new("DaS gpu start", data)
    try:
        scene.camera = camera
        scene.render.engine = "BLENDER_WORKBENCH"
        scene.render.resolution_x = scene.render.resolution_y = 4
        scene.render.use_sequencer = scene.render.use_compositing = False
        with bpy.context.temp_override(scene=scene, view_layer=scene.view_layers[0]):
            bpy.ops.render.render(scene=scene.name)
    finally:
        bpy.data.scenes.remove(scene)
        bpy.data.objects.remove(camera)
        bpy.data.cameras.remove(data)
        for image in [] if had_result else [each for each in bpy.data.images if each.type == "RENDER_RESULT"]:
            bpy.data.images.remove(image)


def _probe() -> None:
    start_gpu()
    target = gpu.types.GPUOffScreen(2, 2, format="RGBA32F")
    with target.bind():
        frame = gpu.state.active_framebuffer_get()
        frame.clear(color=(0.25, 0.5, 0.75, 1.0))
        pixels = np.array(frame.read_color(0, 0, 2, 2, 4, 0, "FLOAT").to_list())
    target.free()
    if np.allclose(pixels, (0.25, 0.5, 0.75, 1.0)):
        print(ANSWER, flush=True)


if __name__ == "__main__":
    _probe()
