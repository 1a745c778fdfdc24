"""What camera control and object manipulation share: a source's points in space, filmed by a moving camera."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...shared.request import GenerationRequest
from ..engines import Progress
from . import Event
from .clouds import find_tracks, own_camera, picture_cloud, tracks_cloud, tracks_square
from .paths import CameraMove, identities
from .point_cloud import PointCloud
from .source import Source
from .take import draw_video, hand_over


def points_in_space(
    request: GenerationRequest, inputs: dict[str, np.ndarray], source: Source, cancelled: Callable[[], bool]
) -> Iterator[Progress]:
    """Yields Progress, returns the PointCloud and the source's own world_to_camera f64 [T,4,4]."""
    if not source.is_video:
        return picture_cloud(source), identities(request.frames)
    tracks = yield from find_tracks(request, inputs, source, cancelled)
    own = own_camera(inputs, source, tracks, request.frames)
    return tracks_cloud(source, tracks, own, tracks_square(request, tracks)), own


def cameras(request: GenerationRequest, source: Source, path: CameraMove | None, own: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """K f64 [T,3,3] and world_to_camera f64 [T,4,4] of what is made: the path after the source's ``own``, or in its place."""
    K = np.broadcast_to(source.K, (request.frames, 3, 3))
    if path is None:
        return np.array(K), own
    if request.camera.onto == "override":
        return path.zoom @ K[0], path.relative
    return path.zoom @ K, path.relative @ own


def film(
    request: GenerationRequest,
    inputs: dict[str, np.ndarray],
    source: Source,
    cloud: PointCloud,
    seen_by: tuple[np.ndarray, np.ndarray],
    motion: np.ndarray | None,
    cancelled: Callable[[], bool],
) -> Iterator[Event]:
    """Draws the points as the :func:`cameras` see them, the masked ones under ``motion`` [T,4,4], and hands the take over."""
    K, world_to_camera = seen_by

    def seen(frame: int):
        return cloud.seen(frame, K[frame], world_to_camera[frame], None if motion is None else motion[frame])

    signals = yield from draw_video(request, seen, cloud.square, cancelled)
    yield from hand_over(request, inputs, source, signals | {"K": K, "world_to_camera": world_to_camera}, cancelled)
