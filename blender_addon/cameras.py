"""Scene cameras to shared.camera: the view a render would have, and the request's window onto it.

Evaluated cameras are read through ``calc_matrix_camera``, Blender's own projection: sensor fit, shift, pixel
aspect, resolution percentage and the lens unit are right because Blender computes them.
"""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import Iterator

import bpy
import numpy as np

from ..shared.camera import Camera, Intrinsics, blender_to_opencv, fit_window, opencv_to_blender, view_rectangle
from ..shared.errors import SceneError
from ..shared.request import GenerationRequest

CAMERA_KINDS = {"ORTHO": "orthographic", "PANO": "panoramic", "CUSTOM": "custom"}
NARROWEST_SENSOR = 1.0  # millimetres; Blender clamps below


def scene_view(depsgraph: bpy.types.Depsgraph) -> Camera:
    """The whole view of a render's camera, in the render's own pixels (fx != fy where pixels are not square).

    ``world_to_camera`` is OpenCV's; the object's scale is ignored, as Blender ignores it. SceneError where there
    is no camera, or not a perspective one.
    """
    camera, render = scene_camera(depsgraph), depsgraph.scene.render
    width, height = render_size(render)
    projection = np.array(
        camera.calc_matrix_camera(
            depsgraph, x=width, y=height, scale_x=render.pixel_aspect_x, scale_y=render.pixel_aspect_y
        ),
        dtype=np.float64,
    )
    intrinsics = Intrinsics(
        width,
        height,
        fx=float(projection[0, 0] * width / 2),
        fy=float(projection[1, 1] * height / 2),
        cx=float(width / 2 * (1 - projection[0, 2])),
        cy=float(height / 2 * (1 + projection[1, 2])),
    )
    pose = blender_to_opencv(np.array(camera.matrix_world))
    return Camera(intrinsics, pose, near=camera.data.clip_start, far=camera.data.clip_end)


def render_size(render: bpy.types.RenderSettings) -> tuple[int, int]:
    """Width and height of a render in pixels, the percentage taken."""
    return tuple(max(1, side * render.resolution_percentage // 100) for side in (render.resolution_x, render.resolution_y))


def check_any_camera(scene: bpy.types.Scene) -> None:
    """SceneError where neither the scene nor a marker names a camera: Blender would refuse to render at all."""
    if scene.camera is None and not any(marker.camera for marker in scene.timeline_markers):
        raise SceneError("The scene has no camera.", "Add a camera, or choose one in the scene properties.", "find_camera")


def scene_camera(depsgraph: bpy.types.Depsgraph) -> bpy.types.Object:
    """The evaluated camera that a render uses at the depsgraph's frame, camera markers followed."""
    # depsgraph.scene, not scene_eval: in 4.5 the evaluated scene lags one frame behind a camera marker
    scene = depsgraph.scene
    if scene.camera is None:
        raise SceneError(f"The scene has no camera at frame {scene.frame_current}.", "Add a camera, or choose one in the scene properties.", "find_camera")
    if scene.camera.type != "CAMERA":
        raise SceneError(f"{scene.camera.name} is the scene's camera, but it is no camera object.", "Choose a camera in the scene properties.", "find_camera")
    check_perspective(scene.camera)
    return scene.camera.evaluated_get(depsgraph)


def check_perspective(camera: bpy.types.Object) -> None:
    kind = camera.data.type
    if kind != "PERSP":
        raise SceneError(
            f"The camera {camera.name} is {CAMERA_KINDS.get(kind, kind.lower())}; only perspective cameras are supported.",
            "Set its type to Perspective, or choose another camera.",
            "set_perspective",
        )


def window_camera(view: Camera, request: GenerationRequest) -> Camera:
    """The request's window onto a whole view: cropped or padded, never stretched (:func:`shared.camera.fit_window`).

    With ``fit = pad`` the window shows the camera's whole view and nothing beside it: ``Camera.visible`` is the
    part of the window that the view covers, and the margins stay black in tracking and first frame alike.
    """
    intrinsics = fit_window(view.intrinsics, request.width, request.height, request.fit)
    visible = view_rectangle(view.intrinsics, request.width, request.height, request.fit)
    return Camera(intrinsics, view.world_to_camera, view.near, view.far, visible)


class WindowCamera:
    """What a render of the window needs to know of an evaluated camera: read inside a render, used after it.

    Lens, depth of field and clipping stay; the window is set by the sensor's width and by shift, so that the
    blur of the depth of field keeps its size.
    """

    def __init__(self, depsgraph: bpy.types.Depsgraph, request: GenerationRequest):
        source = scene_camera(depsgraph)
        self.window = window_camera(scene_view(depsgraph), request)
        self._source = source.data.original
        self._properties = _plain_properties(source.data)
        self._depth_of_field = _plain_properties(source.data.dof)

    @contextmanager
    def temporary(self) -> Iterator[bpy.types.Object]:
        """A camera object, gone afterwards, whose render of width x height square pixels is the window."""
        data = self._source.copy()
        camera = bpy.data.objects.new("DaS window", data)
        try:
            data.animation_data_clear()
            _set_properties(data, self._properties)
            _set_properties(data.dof, self._depth_of_field)
            _set_window(data, self.window.intrinsics)
            camera.matrix_world = opencv_to_blender(self.window.world_to_camera).T.tolist()
            yield camera
        finally:
            with suppress(ReferenceError):  # an undo or another file has taken them
                bpy.data.objects.remove(camera)
                bpy.data.cameras.remove(data)


def _plain_properties(source: bpy.types.bpy_struct) -> dict[str, object]:
    """The evaluated (animated, driven) numbers, switches and choices."""
    return {
        prop.identifier: getattr(source, prop.identifier)
        for prop in source.bl_rna.properties
        if prop.type in {"FLOAT", "INT", "BOOLEAN", "ENUM"} and not prop.is_readonly and not getattr(prop, "is_array", False)
    }


def _set_properties(target: bpy.types.bpy_struct, values: dict[str, object]) -> None:
    for name, value in values.items():
        setattr(target, name, value)


def _set_window(data: bpy.types.Camera, window: Intrinsics) -> None:
    sensor = data.lens * window.width / window.fx
    enlarge = max(1.0, NARROWEST_SENSOR / sensor)
    data.lens_unit = "MILLIMETERS"
    data.lens *= enlarge
    data.dof.aperture_fstop *= enlarge
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = sensor * enlarge
    data.shift_x = (window.width / 2 - window.cx) / window.width
    data.shift_y = (window.cy - window.height / 2) / window.width
