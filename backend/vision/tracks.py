"""Point tracks of a video: found by the trackers, compared with the truth (docs/motion-transfer.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec
import numpy as np

from ...shared.errors import UsageError
from ...shared.track_files import Tracks

Method = Literal["dis", "lucas_kanade", "cotracker"]
THRESHOLDS = (4, 8)  # pixels


class Score(msgspec.Struct, kw_only=True, frozen=True):
    """How near tracks are to true ones, over every point that is truly visible in a frame after the first.

    ``within`` is the share of them that lies within so many pixels, wherever the tracker took it to be visible or not;
    ``median_error`` is in pixels; ``occlusion_accuracy`` the share of all points and frames whose visibility is right.
    """

    within: dict[int, float]
    occlusion_accuracy: float
    median_error: float
    per_object: dict[int, Score] = {}


def track(
    video: np.ndarray,
    points: np.ndarray,
    *,
    method: Method = "dis",
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Tracks:
    """Follow points f64 [N,2] (x, y) of the first frame through a video u8 [T,H,W,3].

    Each has a place in every frame, also while it is hidden or has left the frame, where it is not visible.
    UsageError where the video is one frame, Cancelled where ``cancelled`` says so.
    """
    if len(video) < 2:
        raise UsageError("One frame shows no motion to track.", "Give a longer video, or a wider range of frames.")
    points = np.asarray(points, np.float64).reshape(-1, 2)
    if method == "cotracker":
        from .cotracker import track_by_cotracker as tracker
    else:
        from .flow_tracker import track_by_flow as tracker
    xy, visible = tracker(video, points, method=method, cancelled=cancelled, progress=progress)
    return Tracks(xy=xy.astype(np.float32), visible=visible)


def score(tracks: Tracks, truth: Tracks) -> Score:
    """``tracks`` against ``truth`` of the same points and frames; per object too where the truth names objects."""
    if tracks.xy.shape != truth.xy.shape:
        raise UsageError(
            f"Tracks of {_extent(tracks)} cannot be compared with true ones of {_extent(truth)}.", "Track the true points in the same frames."
        )
    error = np.linalg.norm(tracks.xy[1:].astype(np.float64) - truth.xy[1:], axis=-1)
    error[~np.isfinite(tracks.xy[1:]).all(axis=-1)] = np.inf
    counted = truth.visible[1:] & np.isfinite(truth.xy[1:]).all(axis=-1)
    alike = tracks.visible[1:] == truth.visible[1:]
    numbers = [] if truth.objects is None else np.unique(truth.objects)
    parts = {int(number): _score(error, counted, alike, truth.objects == number) for number in numbers}
    return msgspec.structs.replace(_score(error, counted, alike, slice(None)), per_object=parts)


def _score(error: np.ndarray, counted: np.ndarray, alike: np.ndarray, chosen: np.ndarray | slice) -> Score:
    errors = error[:, chosen][counted[:, chosen]]
    if not len(errors):
        return Score(within=dict.fromkeys(THRESHOLDS, np.nan), occlusion_accuracy=float(alike[:, chosen].mean()), median_error=np.nan)
    return Score(
        within={pixels: float((errors <= pixels).mean()) for pixels in THRESHOLDS},
        occlusion_accuracy=float(alike[:, chosen].mean()),
        median_error=float(np.median(errors)),
    )


def _extent(tracks: Tracks) -> str:
    return f"{tracks.xy.shape[1]} points in {tracks.xy.shape[0]} frames"
