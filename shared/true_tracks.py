"""Where a take's points truly are in every frame: from its tracks.npz, or from its signals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from .camera import Camera, project
from .errors import UsageError
from .take import Take
from .track_files import Tracks, read_tracks

POINTS = 2500  # of a grid on the first frame, about
SMALLEST_CELL = 4  # pixels
FARTHEST = 1.0  # pixels, from the nearest pixel's centre
OFF_THE_SURFACE = 0.5  # of the distance of two pixels


def true_tracks(take: Take) -> Tracks:
    """Points of the first frame, with their objects. UsageError, whose message says why, where the take does not know them."""
    file = take.folder / "tracks.npz"
    if file.is_file():
        tracks = read_tracks(file)
        count = take.record.request.frames
        if len(tracks.xy) != count:
            raise UsageError(f"its tracks.npz has {len(tracks.xy)} frames, not {count}", "Capture the take again with das track.")
    else:
        tracks = _tracks_of_signals(take)
    return from_first_frame(tracks)


def object_names(take: Take) -> dict[int, str]:
    """The objects' names by number, empty where the take does not tell them."""
    file = Path(take.folder) / "objects.json"
    return {int(number): name for number, name in json.loads(file.read_bytes()).items()} if file.is_file() else {}


def _tracks_of_signals(take: Take) -> Tracks:
    unknown = UsageError("it does not know where its points truly are", "Score takes that were made of a scene.")
    if not take.has_signals:
        raise unknown
    with np.load(take.folder / "signals.npz", allow_pickle=False) as stored:
        if not {"rest", "object"} <= set(stored):
            raise unknown
        rest, objects = stored["rest"], stored["object"]
    return tracks_of_signals(rest, objects, take.read_camera_path().camera(0))


def from_first_frame(tracks: Tracks) -> Tracks:
    """Only points of objects that the first frame shows, and the next."""
    chosen = tracks.visible[0] & tracks.visible[1]
    objects = np.ones(chosen.shape, np.uint16) if tracks.objects is None else tracks.objects.astype(np.uint16)
    chosen &= objects > 0
    if not chosen.any():
        raise UsageError("its second frame shows no point of its first any more", "Choose a shorter range.")
    return Tracks(xy=tracks.xy[:, chosen], visible=tracks.visible[:, chosen], objects=objects[chosen], fps=tracks.fps)


def tracks_of_signals(rest: np.ndarray, objects: np.ndarray, first_camera: Camera) -> Tracks:
    """Tracks of a grid of the first frame's surface points, NaN where they are not seen.

    ``rest`` [T,H,W,3] are first-frame positions (world), ``objects`` u16 [T,H,W], 0 where nothing is. A point is where a
    frame's pixel shows its first-frame position, refined to a part of a pixel along the surface.
    """
    height, width = objects.shape[1:]
    step = max(SMALLEST_CELL, round((width * height / POINTS) ** 0.5))
    grid = _Grid(rest[0].astype(np.float32), objects[0], step, first_camera)
    places = [grid.find(picture.astype(np.float32), numbers) for picture, numbers in zip(rest[1:], objects[1:])]
    xy = np.stack([grid.pixels + 0.5, *places]).astype(np.float32)
    return Tracks(xy=xy, visible=np.isfinite(xy).all(axis=-1), objects=grid.objects)


class _Grid:
    """The first frame's points: ``pixels`` i [N,2] (x, y), ``objects`` u16 [N]."""

    def __init__(self, rest: np.ndarray, objects: np.ndarray, step: int, camera: Camera):
        height, width = objects.shape
        y, x = (each.ravel() for each in np.mgrid[step // 2 : height : step, step // 2 : width : step])
        shown = (objects[y, x] > 0) & np.isfinite(rest[y, x]).all(axis=-1)
        self.pixels = np.stack([x[shown], y[shown]], axis=1)
        self.objects, self._rest = objects[y[shown], x[shown]], rest[y[shown], x[shown]]
        self._step, self._camera = step, camera
        self._cells = np.full((height // step + 1, width // step + 1), -1)
        self._cells[y[shown] // step, x[shown] // step] = np.arange(shown.sum())

    def find(self, rest: np.ndarray, objects: np.ndarray) -> np.ndarray:
        """f64 [N,2]: where another frame shows the points, NaN where it does not."""
        found = np.full(self.pixels.shape, np.nan)
        rows, columns = np.nonzero(objects)
        points = self._points_near(rest[rows, columns], objects[rows, columns])
        rows, columns, points = rows[points >= 0], columns[points >= 0], points[points >= 0]
        far = np.linalg.norm(rest[rows, columns] - self._rest[points], axis=1)
        order = np.lexsort((far, points))
        points, first = np.unique(points[order], return_index=True)
        rows, columns = rows[order[first]], columns[order[first]]
        off, left, spacing = _along_surface(rest, objects, rows, columns, self._rest[points])
        good = (np.abs(off).max(axis=1) <= FARTHEST) & (left <= OFF_THE_SURFACE * spacing)  # NaN compares false
        found[points[good]] = np.stack([columns, rows], axis=1)[good] + 0.5 + off[good]
        return found

    def _points_near(self, rest: np.ndarray, objects: np.ndarray) -> np.ndarray:
        """i [M]: the point of the same object in whose cell of the first frame a position lies, -1 for none."""
        pixels, depth = project(rest, self._camera)
        with np.errstate(invalid="ignore"):
            cells = np.floor(np.nan_to_num(pixels, nan=-1e9).clip(-1e9, 1e9) / self._step).astype(np.int64)
        columns, rows = cells.T
        inside = (depth > 0) & (rows >= 0) & (columns >= 0) & (rows < self._cells.shape[0]) & (columns < self._cells.shape[1])
        points = np.full(len(rest), -1)
        points[inside] = self._cells[rows[inside], columns[inside]]
        points[(points >= 0) & (self.objects[points] != objects)] = -1
        return points


def _along_surface(
    rest: np.ndarray, objects: np.ndarray, rows: np.ndarray, columns: np.ndarray, wanted: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """From pixels to positions ``wanted`` [N,3]: the step f64 [N,2] in pixels, how far [N] from the surface it ends, and the
    distance [N] of neighbouring pixels' positions; NaN where the surface ends at the pixel on both sides."""
    across = _slope(rest, objects, rows, columns, (0, 1))
    down = _slope(rest, objects, rows, columns, (1, 0))
    away = wanted - rest[rows, columns]
    xx, yy, xy = (across * across).sum(axis=1), (down * down).sum(axis=1), (across * down).sum(axis=1)
    x, y = (away * across).sum(axis=1), (away * down).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        step = np.stack([yy * x - xy * y, xx * y - xy * x], axis=1) / (xx * yy - xy * xy)[:, None]
    left = np.linalg.norm(away - step[:, :1] * across - step[:, 1:] * down, axis=1)
    return step, left, np.sqrt(np.maximum(xx, yy))


def _slope(rest: np.ndarray, objects: np.ndarray, rows: np.ndarray, columns: np.ndarray, way: tuple[int, int]) -> np.ndarray:
    """f64 [N,3]: how the position changes from pixel to pixel, to the nearer of the two neighbours of the same object."""
    here = rest[rows, columns].astype(np.float64)
    slopes = []
    for sign in (1, -1):
        there = np.clip(rows + sign * way[0], 0, rest.shape[0] - 1), np.clip(columns + sign * way[1], 0, rest.shape[1] - 1)
        slope = sign * (rest[there] - here)
        same = (objects[there] == objects[rows, columns]) & ((there[0] != rows) | (there[1] != columns))
        slopes.append(np.where(same[:, None], slope, np.nan))
    sizes = np.nan_to_num(np.stack([np.square(slope).sum(axis=1) for slope in slopes]), nan=np.inf)
    return np.where((sizes[0] <= sizes[1])[:, None], *slopes)
