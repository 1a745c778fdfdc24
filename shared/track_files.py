"""Files of point tracks (.npz): what `das track --write tracks` writes, and other programs' (docs/signals.md)."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import msgspec
import numpy as np

from .errors import UsageError

FORM = "Give an npz with tracks [T,N,2] in pixels and visibility [T,N], as das track --write tracks writes it."


class Tracks(msgspec.Struct, kw_only=True, frozen=True):
    """N points in T frames: ``xy`` f32 [T,N,2] in pixels (pixel i covers [i, i+1)), NaN where unknown; ``visible`` bool [T,N].

    Where known: ``depth`` f32 [T,N] is camera z, ``objects`` u16 [N] are numbers of objects, ``queries`` f32 [N,3] are the
    t, y, x at which the points were chosen, ``world`` f32 [T,N,3] positions, ``size`` the frames' width and height in pixels,
    ``fps`` frames a second.
    """

    xy: np.ndarray
    visible: np.ndarray
    depth: np.ndarray | None = None
    objects: np.ndarray | None = None
    queries: np.ndarray | None = None
    world: np.ndarray | None = None
    size: tuple[int, int] | None = None
    fps: float | None = None


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
    known = np.isfinite(xy).all(axis=-1)
    visible = _without_batch(stored.get("visibility", stored.get("visible", known)), 2)
    depth, objects = stored.get("depth"), stored.get("object")
    for name, array, shape in (("visibility", visible, xy.shape[:2]), ("depth", depth, xy.shape[:2]), ("object", objects, xy.shape[1:2])):
        if array is not None and array.shape != shape:
            raise ValueError(f"its {name} is {list(array.shape)} beside tracks of {list(xy.shape)}")
    return Tracks(
        xy=xy,
        visible=visible.astype(bool) & known,
        depth=None if depth is None else depth.astype(np.float32),
        objects=objects,
        fps=float(stored["fps"]) if "fps" in stored else None,
    )


def _without_batch(array: np.ndarray, axes: int) -> np.ndarray:
    return array[0] if array.ndim == axes + 1 and len(array) == 1 else array


def encode_tracks(tracks: Tracks) -> bytes:
    """A file of tracks (docs/signals.md), with all that is known of them."""
    arrays = {
        "tracks": tracks.xy,
        "visibility": tracks.visible,
        "query_points": tracks.queries,
        "target_points": np.ascontiguousarray(tracks.xy.swapaxes(0, 1)),
        "occluded": np.ascontiguousarray(~tracks.visible.T),
        "world": tracks.world,
        "depth": tracks.depth,
        "object": tracks.objects,
        "size": None if tracks.size is None else np.array(tracks.size, np.int32),
        "fps": None if tracks.fps is None else np.float64(tracks.fps),
    }
    content = io.BytesIO()
    np.savez_compressed(content, **{name: array for name, array in arrays.items() if array is not None})
    return content.getvalue()
