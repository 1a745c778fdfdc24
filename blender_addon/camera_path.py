"""The scene's camera over time, read as a render would see it, without capturing any geometry."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import Callable, Iterator, Sequence

import bpy
import msgspec
import numpy as np

from ..shared.camera import Camera, CameraPath, camera_path
from ..shared.camera_motion import Order, motion
from ..shared.errors import Cancelled, SceneError
from ..shared.request import GenerationRequest
from ..shared.timeline import sample_frames, video_fps
from .cameras import check_any_camera, scene_view, window_camera
from .capture.engine import reach, visiting_render
from .capture.geometry import missing_notes
from .capture.physics import Moments
from .capture.scene_guard import RenderCopy
from .render_job import Renders, done_at_once

Progress = Callable[[int, int], None]
IsCancelled = Callable[[], bool]


class CameraTrack(msgspec.Struct):
    """The request's window at each of ``frames``; ``names`` are the camera objects', which markers may switch.
    ``followed`` are the world matrices f64 [4,4] of the object that was followed, if one was."""

    frames: np.ndarray  # f64 [T], scene frames
    cameras: list[Camera]
    names: list[str]
    notes: list[str]
    followed: list[np.ndarray] = []

    @property
    def world_to_camera(self) -> np.ndarray:
        """f64 [T,4,4]."""
        return np.array([camera.world_to_camera for camera in self.cameras])


def reading_cameras(
    scene: bpy.types.Scene,
    request: GenerationRequest,
    frames: Sequence[float] | None = None,
    *,
    follow: bpy.types.Object | None = None,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
) -> Renders[CameraTrack]:
    """The cameras that :func:`capture` would have, at rising scene frames (default: the request's sampled ones), and
    where ``follow`` is then.

    SceneError where there is no perspective camera, a render is running or rigid bodies are not baked; Cancelled
    where ``cancelled()`` says so. ``progress`` and ``cancelled`` are called in the render's thread. The scene is left as it was.
    """
    check_any_camera(scene)
    frames = sample_frames(request.start, request.end, request.frames) if frames is None else np.asarray(frames)
    track, moments = CameraTrack(frames, [], [], []), Moments(scene, frames)

    def visit(engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
        moments.play(engine)
        for _, steps in moments:
            if cancelled and cancelled():
                raise Cancelled("Reading the camera was cancelled.")
            reach(engine, steps)
            track.cameras.append(window_camera(scene_view(depsgraph), request))
            track.names.append(depsgraph.scene.camera.name)
            if probe:
                track.followed.append(np.array(probe.evaluated_get(depsgraph).matrix_world, dtype=np.float64))
            if progress:
                progress(len(track.cameras), len(frames))

    with RenderCopy(scene) as copy, _probe(follow) as probe, moments.kept():
        _empty(copy.scene)
        if probe:
            copy.scene.collection.objects.link(probe)
        yield from visiting_render(copy, visit)
    track.notes += missing_notes() + moments.notes
    return track


read_cameras = done_at_once(reading_cameras)


def looked_at(scene: bpy.types.Scene, depsgraph: bpy.types.Depsgraph) -> float | None:
    """How far away that is, at the frame that is shown, which lies in the middle of the camera's view; None where
    nothing does."""
    matrix = scene.camera.evaluated_get(depsgraph).matrix_world
    origin, direction = matrix.translation, -matrix.col[2].to_3d().normalized()
    hit, place, *_ = scene.ray_cast(depsgraph, origin, direction)
    return (place - origin).length if hit else None


def _empty(copy: bpy.types.Scene) -> None:
    """Take everything out of a scene's copy. Its cameras, and all that they hang on, are evaluated all the same, and
    nothing else is: milliseconds where a heavy scene takes minutes."""
    for held in (copy.collection.children, copy.collection.objects):
        for each in list(held):
            held.unlink(each)


@contextmanager
def _probe(followed: bpy.types.Object | None) -> Iterator[bpy.types.Object | None]:
    """An empty that stands where an object does: evaluating it asks for the object's place, and not for its geometry."""
    if followed is None:
        yield None
        return
    probe = bpy.data.objects.new("DaS probe", None)
    try:
        probe.parent = followed
        yield probe
    finally:
        with suppress(ReferenceError):  # an undo or another file has taken it
            bpy.data.objects.remove(probe)


def path_of_track(track: CameraTrack, request: GenerationRequest) -> CameraPath:
    """The track as a path file holds it; its rate is the video's."""
    return camera_path(track.cameras, track.frames, video_fps(request.start, request.end, request.frames, request.scene_fps))


def with_motion(track: CameraTrack, request: GenerationRequest, text: str, order: Order = "sequence") -> CameraTrack:
    """The track with a move of :mod:`shared.camera_motion` on top of what the camera does already: E'_t = P_t E_t.

    The move counts the request's sampled frames, from 0 to its count - 1. SceneError where markers switch cameras.
    """
    for before, after, frame in zip(track.names, track.names[1:], track.frames[1:]):
        if before != after:
            raise SceneError(
                f"The camera changes from {before} to {after} at frame {frame:g}.", "Choose a range without a cut, then add the motion."
            )
    at = (track.frames - request.start) * ((request.frames - 1) / (request.end - request.start))
    moves = motion(text, request.frames, order, np.clip(at, 0, request.frames - 1))
    moved = [msgspec.structs.replace(camera, world_to_camera=move @ camera.world_to_camera) for move, camera in zip(moves, track.cameras)]
    return CameraTrack(track.frames, moved, track.names, track.notes)


def frames_to_key(request: GenerationRequest) -> np.ndarray:
    """The sampled frames and all whole ones between: the first are exact, the others play as smoothly as the scene."""
    sampled = sample_frames(request.start, request.end, request.frames)
    whole = np.arange(np.ceil(request.start), np.floor(request.end) + 1)
    apart = whole[np.abs(whole[:, None] - sampled).min(axis=1) > 1e-3]
    return np.sort(np.concatenate([sampled, apart]))
