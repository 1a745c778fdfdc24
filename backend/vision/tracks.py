"""Point tracks of a video: found by the trackers, compared with the truth, read and written (docs/motion-transfer.md)."""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from ...shared.errors import UsageError

Method = Literal["dis", "lucas_kanade", "cotracker"]
THRESHOLDS = (4, 8)  # pixels
FORM = "Give an npz with tracks [T,N,2] in pixels and visibility [T,N], as das track --write tracks writes it."


class Tracks(msgspec.Struct, kw_only=True, frozen=True):
    """N points in T frames: ``xy`` f32 [T,N,2] in pixels (pixel i covers [i, i+1)), NaN where unknown; ``visible`` bool [T,N].

    ``depth`` f32 [T,N] is camera z, ``objects`` u16 [N] are numbers of objects, ``fps`` frames a second, where known.
    """

    xy: np.ndarray
    visible: np.ndarray
    depth: np.ndarray | None = None
    objects: np.ndarray | None = None
    fps: float | None = None


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


def read_tracks(file: Path) -> Tracks:
    """A tracks file (.npz). UsageError where it is missing or no such file.

    ``tracks`` [T,N,2] or [1,T,N,2]; ``visibility`` or ``visible`` [T,N], else all that is finite; ``depth``, ``object``, ``fps``.
    """
    file = Path(file)
    if not file.is_file():
        raise UsageError(f"There is no file of tracks {file}.", "Check the path.")
    try:
        with np.load(file, allow_pickle=False) as stored:
            return _tracks_of({name: stored[name] for name in stored.files})
    except (OSError, ValueError, AttributeError, EOFError, zipfile.BadZipFile) as error:
        raise UsageError(f"{file} cannot be read as tracks: {str(error).strip('.')}.", FORM) from None


def _tracks_of(stored: dict[str, np.ndarray]) -> Tracks:
    """ValueError where an array is missing or of another shape."""
    if "tracks" not in stored:
        raise ValueError(f"it holds {', '.join(stored) or 'nothing'} and no tracks")
    xy = _without_batch(stored["tracks"], 3).astype(np.float32)
    if xy.ndim != 3 or xy.shape[2] != 2 or xy.shape[0] < 2 or not xy.shape[1]:
        raise ValueError(f"its tracks are {list(xy.shape)}")
    visible = stored.get("visibility", stored.get("visible", np.isfinite(xy).all(axis=-1)))
    visible = _without_batch(visible, 2).astype(bool) & np.isfinite(xy).all(axis=-1)
    depth, objects = stored.get("depth"), stored.get("object")
    for name, array, shape in (("visibility", visible, xy.shape[:2]), ("depth", depth, xy.shape[:2]), ("object", objects, xy.shape[1:2])):
        if array is not None and array.shape != shape:
            raise ValueError(f"its {name} is {list(array.shape)} beside tracks of {list(xy.shape)}")
    return Tracks(
        xy=xy,
        visible=visible,
        depth=None if depth is None else depth.astype(np.float32),
        objects=objects,
        fps=float(stored["fps"]) if "fps" in stored else None,
    )


def _without_batch(array: np.ndarray, axes: int) -> np.ndarray:
    return array[0] if array.ndim == axes + 1 and len(array) == 1 else array


def write_tracks(file: Path, tracks: Tracks) -> None:
    """The same arrays as `das track --write tracks` (docs/signals.md), of those that are known."""
    x, y = np.asarray(tracks.xy[0], np.float32).T
    arrays = {
        "tracks": tracks.xy,
        "visibility": tracks.visible,
        "query_points": np.stack([np.zeros_like(x), y, x], axis=1),
        "target_points": np.ascontiguousarray(tracks.xy.swapaxes(0, 1)),
        "occluded": np.ascontiguousarray(~tracks.visible.T),
        "depth": tracks.depth,
        "object": tracks.objects,
        "fps": None if tracks.fps is None else np.float64(tracks.fps),
    }
    with Path(file).open("wb") as opened:
        np.savez_compressed(opened, **{name: array for name, array in arrays.items() if array is not None})


def _extent(tracks: Tracks) -> str:
    return f"{tracks.xy.shape[1]} points in {tracks.xy.shape[0]} frames"
