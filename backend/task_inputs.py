"""What the command line names for a task - pictures, depth, masks, paths, tracks - read and brought to one window."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ..shared.errors import UsageError
from ..shared.motion_file import read_motion
from ..shared.request import GenerationRequest, check
from ..shared.track_files import read_tracks
from ..shared.wanted_path import wanted_path
from .images import ImageioImages
from .vision.depth import read_depth
from .vision.masks import read_mask
from .vision.video import Clip, read_clip
from .vision.window import Window

SENSOR_WIDTH = 36.0  # mm, full frame, as photographers state focal lengths


class Gathered(NamedTuple):
    """A task's inputs (:mod:`shared.task_signals`), its request with the source's own range, and what is to be said."""

    request: GenerationRequest
    inputs: dict[str, np.ndarray]
    notes: list[str]


def gather(
    request: GenerationRequest,
    *,
    frames: tuple[float, float] | None = None,
    path_depth: float | None = None,
    lens: float | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Gathered:
    """Everything that the request names, in its size and count.

    ``frames`` is the range of a video (all of it where None), ``path_depth`` the median distance of what the path's camera
    saw, ``lens`` the source's focal length in mm for a full frame. UsageError where a file is missing, unreadable, or fits
    neither the source nor the request.
    """
    size = (request.width, request.height)
    clip = read_clip(Path(request.source), count=request.frames, size=size, fit=request.fit, frames=frames, progress=progress)
    request = check(msgspec.structs.replace(request, start=clip.start, end=clip.end, scene_fps=clip.fps))
    inputs, notes = {"source": clip.frames, **wanted_path(request)}, list(clip.notes)
    for read in (_depth, _mask, _object_motion, _tracks, _first_frame):
        arrays, said = read(request, clip)
        inputs.update(arrays)
        notes += said
    if lens is not None:
        inputs["source_K"] = _intrinsics(lens, clip)
    if path_depth is not None:
        inputs["scene_depth"] = np.array([_positive(path_depth, "--path-depth")])
    return Gathered(request, inputs, notes)


def _depth(request: GenerationRequest, clip: Clip):
    if request.depth.source != "file":
        return {}, []
    depth = read_depth(request.depth.path)
    sampled = clip.sampled(depth.z, f"The depth {request.depth.path}")
    if len(sampled) != len(clip.frames):
        raise UsageError(
            f"The depth {request.depth.path} is one picture and the source a video.", "Give a folder of depth, one for each frame."
        )
    # Outside the picture's own pixels a window holds 0, which is not a depth.
    pictures = [clip.window.picture(z, "values", f"The depth {request.depth.path}") for z in sampled]
    # What there is to say of it, the task says.
    return {"source_depth": np.stack(pictures).astype(np.float32)}, []


def _mask(request: GenerationRequest, clip: Clip):
    if not request.object.mask:
        return {}, []
    mask = read_mask(Path(request.object.mask))
    return {"mask": clip.window.picture(mask.pixels, "values", f"The mask {request.object.mask}")}, mask.notes


def _object_motion(request: GenerationRequest, clip: Clip):
    if request.object.motion != "path":
        return {}, []
    return {"object_motion": read_motion(Path(request.object.path), request.frames)}, []


def _tracks(request: GenerationRequest, clip: Clip):
    if request.transfer.tracker != "file":
        return {}, []
    tracks = read_tracks(Path(request.transfer.tracks))
    what = f"The file of tracks {request.transfer.tracks}"
    arrays = {
        "tracks": clip.window.points(clip.sampled(tracks.xy, what)).astype(np.float32),
        "track_visible": clip.sampled(tracks.visible, what),
    }
    if tracks.depth is not None:
        arrays["track_depth"] = clip.sampled(tracks.depth, what).astype(np.float32)
    return arrays, []


def _first_frame(request: GenerationRequest, clip: Clip):
    if request.first_frame.source != "file":
        return {}, []
    picture = ImageioImages().read(Path(request.first_frame.path))
    window = Window(picture.shape[1::-1], (request.width, request.height), request.fit)
    note = window.note(Path(request.first_frame.path).name)
    return {"first_frame": window.picture(picture)}, [note] if note else []


def _intrinsics(lens: float, clip: Clip) -> np.ndarray:
    """f64 [S,3,3] of the source seen through a lens, in the window's pixels."""
    width, height = clip.window.source
    focal = _positive(lens, "--lens") / SENSOR_WIDTH * width
    K = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])
    return np.repeat((clip.window.matrix @ K)[None], len(clip.frames), axis=0)


def _positive(value: float, option: str) -> float:
    if not (np.isfinite(value) and value > 0):
        raise UsageError(f"{option} {value:g} is not possible.", "Give a positive number.")
    return float(value)
