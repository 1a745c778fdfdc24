"""One clip of a scene: its render, its tracking video, the true tracks of its points and its camera, as files."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import bpy
import numpy as np

from ...shared import png
from ...shared.camera import camera_path, write_camera_path
from ...shared.errors import Cancelled, SceneError
from ...shared.files import sha256_of
from ...shared.points import query_points
from ...shared.request import GenerationRequest
from ...shared.timeline import sample_frames, video_fps
from ...shared.track_files import encode_tracks
from ..capture.draw import Drawer, choose_drawer
from ..capture.first_frame import render_frames
from ..capture.geometry import Capture, capture
from ..capture.point_tracks import PointTracks
from ..capture.signals import draw_signals
from ..images import BlenderImages

LEAST_TRACKED = 0.02  # of the first frame's pixels: with less there is nothing to learn from


class ClipFiles:
    """Where the files of a clip lie below the dataset, or below the folder where they are made."""

    def __init__(self, name: str):
        self.video = f"videos/{name}.mp4"
        self.tracking = f"tracking/{name}_tracking.mkv"
        self.image = f"images/{name}.png"
        self.tracks = f"tracks/{name}.npz"
        self.camera = f"cameras/{name}.json"

    def relative(self) -> dict[str, str]:
        return dict(vars(self))


def make_clip(
    scene: bpy.types.Scene,
    request: GenerationRequest,
    files: ClipFiles,
    root: Path,
    progress: Callable[[str, int, int], None],
    cancelled: Callable[[], bool],
) -> dict[str, str]:
    """Write all files of a clip below ``root``; the sha256 of video and tracking.

    SceneError where the scene cannot be captured or rendered, or too little of it is in view; Cancelled.
    """
    for file in files.relative().values():
        (root / file).parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root) as scratch:
        drawn = _draw(scene, request, files, root, Path(scratch) / "tracking", progress, cancelled)
        rendered = _render(scene, request, Path(scratch) / "video", progress, cancelled)
        fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
        BlenderImages().write_lossless(root / files.tracking, drawn, fps, lambda done, total: _check(cancelled))
        BlenderImages().write_finest(root / files.video, rendered, fps)
        rendered[0].replace(root / files.image)
    return {name: sha256_of(root / getattr(files, name)) for name in ("video", "tracking")}


def _draw(scene, request, files: ClipFiles, root: Path, folder: Path, progress, cancelled) -> list[Path]:
    """The tracking video's pictures, and beside them tracks and camera."""
    fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
    drawer, follower = choose_drawer()[0], choose_drawer()[0]  # each keeps on the GPU what stays from frame to frame
    tell = lambda done, total: progress("capture", done, total)  # noqa: E731
    with closing(drawer), closing(follower), capture(scene, request, progress=tell, cancelled=cancelled, folder=root) as captured:
        write_camera_path(camera_path(captured.cameras, sample_frames(request.start, request.end, request.frames), fps), root / files.camera)
        tracks = _fixed(captured, request, follower)
        pictures = []
        for index, frame in draw_signals(captured, request, drawer, lambda done, total: progress("tracking", done, total), cancelled):
            if index == 0 and frame.valid.mean() < LEAST_TRACKED:
                raise SceneError(
                    f"Only {frame.valid.mean():.1%} of the first frame shows a surface.", "Move the camera nearer, or let --vary camera choose one."
                )
            pictures.append(_write(folder, index, frame.tracking))
            tracks.add(index, captured.frames[index], frame.depth)
        (root / files.tracks).write_bytes(encode_tracks(tracks.found(fps, (request.width, request.height))))
    return pictures


def _fixed(captured: Capture, request: GenerationRequest, drawer: Drawer) -> PointTracks:
    """Those points of the grid that lie on a surface in the first frame."""
    queries = query_points(request)
    tracks = PointTracks(queries, request.frames)
    _finish(tracks.fix(captured, drawer))
    if (tracks.objects == 0).any():
        tracks = PointTracks(queries[tracks.objects > 0], request.frames)
        _finish(tracks.fix(captured, drawer))
    return tracks


def _render(scene, request: GenerationRequest, folder: Path, progress, cancelled) -> list[Path]:
    pictures = []
    with closing(render_frames(scene, request, BlenderImages())) as frames:
        for index, picture in enumerate(frames):
            pictures.append(_write(folder, index, picture))
            progress("render", index + 1, request.frames)
            _check(cancelled)
    return pictures


def _write(folder: Path, index: int, pixels: np.ndarray) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"{index + 1:04d}.png"
    file.write_bytes(png.encode(pixels))
    return file


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("The clip was cancelled.")


def _finish(steps: Iterator) -> None:
    for _ in steps:
        pass
