"""A camera path as an animated Blender camera: location, rotation and lens keyed at the path's own frames."""

from __future__ import annotations

from typing import Sequence

import bpy
import numpy as np

from ..shared.camera import CameraPath, Intrinsics, opencv_to_blender, rotation_to_quaternion, unfit_window
from ..shared.errors import UsageError
from ..shared.request import Fit
from .camera_path import CameraTrack
from .cameras import render_size

SENSOR_WIDTH = 36.0  # millimetres, full frame
SHORTEST_LENS = 1.0  # millimetres; Blender clamps below
SQUARE = 1e-6  # pixels whose sides differ by less are square: it moves no projection by more than that


def add_path_camera(
    scene: bpy.types.Scene, path: CameraPath, *, name: str = "Camera path", fit: Fit = "crop", set_render_size: bool = False
) -> tuple[bpy.types.Object, list[str]]:
    """A new camera that follows a path and becomes the scene's; and notes on what else was changed.

    The render size stays, and the path's pictures are the window onto it that ``fit`` says, as in a request. With
    ``set_render_size`` the scene gets the path's size and pixel aspect, and a render is the path's picture.
    UsageError where Blender cannot hold the path: pixels whose aspect changes, or that are not square in a render
    whose size stays.
    """
    ratio, notes = _pixel_ratio(path), []
    if set_render_size:
        notes.append(_set_render_size(scene, path, ratio))
        views = _windows(path)
    else:
        _check_square(ratio)
        size, aspect = render_size(scene.render), scene.render.pixel_aspect_y / scene.render.pixel_aspect_x
        views = [unfit_window(window, *size, aspect, fit) for window in _windows(path)]
    data = bpy.data.cameras.new(name)
    _copy_clipping(scene.camera, data)
    frames = [each.frame for each in path.frames]
    _set_lens(data, frames, views)
    return _add(scene, name, data, frames, path.world_to_camera, notes)


def add_moved_camera(scene: bpy.types.Scene, track: CameraTrack, name: str = "Camera motion") -> tuple[bpy.types.Object, list[str]]:
    """A new camera with the lens of the track's own camera, its animation and focus included, that follows the track
    and becomes the scene's; and notes on what else was changed."""
    source = bpy.data.objects[track.names[0]].data
    data = source.copy()
    data.name = name
    if source.animation_data and source.animation_data.action:
        slot = source.animation_data.action_slot
        data.animation_data.action = source.animation_data.action.copy()
        if slot:
            data.animation_data.action_slot = data.animation_data.action.slots[slot.identifier]
    return _add(scene, name, data, track.frames, track.world_to_camera, [])


def _add(
    scene: bpy.types.Scene, name: str, data: bpy.types.Camera, frames: Sequence[float], poses: np.ndarray, notes: list[str]
) -> tuple[bpy.types.Object, list[str]]:
    camera = bpy.data.objects.new(name, data)
    scene.collection.objects.link(camera)
    camera.rotation_mode = "QUATERNION"
    matrices = opencv_to_blender(poses)
    animate(camera, "location", frames, matrices[:, :3, 3])
    animate(camera, "rotation_quaternion", frames, _without_jumps(rotation_to_quaternion(matrices[:, :3, :3])))
    notes += _make_scene_camera(scene, camera)
    return camera, notes


def _make_scene_camera(scene: bpy.types.Scene, camera: bpy.types.Object) -> list[str]:
    """Markers that switch cameras let go of theirs: they would take the scene away from the new one."""
    switching = [marker for marker in scene.timeline_markers if marker.camera]
    for marker in switching:
        marker.camera = None
    scene.camera = camera
    if not switching:
        return []
    return [f"Camera markers were unbound, so that {camera.name} stays the scene's camera: {', '.join(marker.name for marker in switching)}."]


def _set_lens(data: bpy.types.Camera, frames: Sequence[float], views: list[Intrinsics]) -> None:
    """Lens and shift over a sensor of constant width: what changes is keyed."""
    fx, cx, cy = (np.array([getattr(view, name) for view in views]) for name in ("fx", "cx", "cy"))
    width, height, ratio = views[0].width, views[0].height, views[0].fx / views[0].fy
    data.sensor_fit = "HORIZONTAL"
    data.sensor_width = max(SENSOR_WIDTH, SHORTEST_LENS * width / fx.min())
    animate(data, "lens", frames, fx / width * data.sensor_width)
    animate(data, "shift_x", frames, (width / 2 - cx) / width)
    animate(data, "shift_y", frames, (cy - height / 2) * ratio / width)


def animate(block: bpy.types.ID, path: str, frames: Sequence[float], values: np.ndarray) -> None:
    """Key values [T] or [T,N] with straight lines between; a constant single number is only set."""
    if values.ndim == 1 and np.ptp(values) == 0:
        setattr(block, path, values[0])
        return
    animation = block.animation_data or block.animation_data_create()
    animation.action = animation.action or bpy.data.actions.new(block.name)
    for index, column in enumerate(np.atleast_2d(values.T)):
        curve = animation.action.fcurve_ensure_for_datablock(block, path, index=index)
        curve.keyframe_points.add(len(column))
        curve.keyframe_points.foreach_set("co", np.stack([frames, column], axis=-1).astype(np.float32).ravel())
        for point in curve.keyframe_points:
            point.interpolation = "LINEAR"
        curve.update()


def _without_jumps(quaternions: np.ndarray) -> np.ndarray:
    """q and -q are one rotation: each takes the sign that is nearer to the one before it."""
    turned = np.sum(quaternions[1:] * quaternions[:-1], axis=1) < 0
    signs = np.concatenate([[1], np.cumprod(np.where(turned, -1, 1))])
    return quaternions * signs[:, None]


def _windows(path: CameraPath) -> list[Intrinsics]:
    return [path.camera(index).intrinsics for index in range(len(path.frames))]


def _pixel_ratio(path: CameraPath) -> float:
    """fx / fy of all frames."""
    ratios = np.array([each.fx / each.fy for each in path.frames])
    if np.ptp(ratios) > SQUARE:
        raise UsageError("The path's fx / fy changes, but a Blender scene has one pixel aspect.", "Give a path of one pixel aspect.")
    return 1.0 if abs(ratios[0] - 1) < SQUARE else float(ratios[0])


def _check_square(ratio: float) -> None:
    if ratio != 1:
        raise UsageError(
            f"The path's pixels are not square (fx / fy is {ratio:.6g}).",
            "Let the scene take the path's render size and pixel aspect: --set-render-size, or Set Render Size.",
        )


def _set_render_size(scene: bpy.types.Scene, path: CameraPath, ratio: float) -> str:
    render = scene.render
    render.resolution_x, render.resolution_y, render.resolution_percentage = path.width, path.height, 100
    render.pixel_aspect_x, render.pixel_aspect_y = max(1.0, 1 / ratio), max(1.0, ratio)  # Blender's are 1 or more
    aspect = "" if ratio == 1 else f" with a pixel aspect of {render.pixel_aspect_x:.6g}:{render.pixel_aspect_y:.6g}"
    return f"The scene's render size is now {path.width}x{path.height}{aspect}."


def _copy_clipping(source: bpy.types.Object | None, data: bpy.types.Camera) -> None:
    """A path says nothing of clipping: the scene's camera does."""
    if source and source.type == "CAMERA":
        data.clip_start, data.clip_end = source.data.clip_start, source.data.clip_end
