"""The points that are tracked: a grid on the first frame, or chosen ones from a file.

A query point is (t, y, x) as in TAP-Vid (arXiv 2211.03726): the index of a result frame, and pixels of the window,
whose first pixel's centre is (0.5, 0.5).
"""

from __future__ import annotations

import json
import math
import re
import zipfile
from pathlib import Path

import numpy as np

from .errors import UsageError
from .request import GenerationRequest

MOST = 100_000
FORMS = "a grid such as 50x50 or 400, or a file .csv, .json or .npz of x, y and, where wanted, t"


def is_grid(text: str) -> bool:
    """Is this '50x50' or '400', rather than a file?"""
    return re.fullmatch(r"\d{1,6}(x\d{1,6})?", text.strip().lower()) is not None


def query_points(request: GenerationRequest) -> np.ndarray:
    """``request.points`` as query points f64 [N,3] (t, y, x); UsageError where they cannot be had."""
    if is_grid(request.points):
        return _grid(request.points.strip().lower(), request.width, request.height)
    points = read_points(Path(request.points))
    _check(points, request)
    return points


def _grid(text: str, width: int, height: int) -> np.ndarray:
    """Pixel centres, evenly spread. A single number is as many as a grid of square cells comes near to."""
    if "x" in text:
        columns, rows = (int(number) for number in text.split("x"))
    else:
        columns = min(int(text), max(1, round(math.sqrt(int(text) * width / height))))
        rows = max(1, round(int(text) / max(1, columns)))
    if not 0 < columns <= width or not 0 < rows <= height or columns * rows > MOST:
        raise UsageError(
            f"A grid of {columns}x{rows} points does not fit {width}x{height} pixels.",
            f"Give one point a pixel at most, and at most {MOST}, for example --points 50x50.",
        )
    across = np.floor((np.arange(columns) + 0.5) * width / columns) + 0.5
    down = np.floor((np.arange(rows) + 0.5) * height / rows) + 0.5
    y, x = (each.ravel() for each in np.meshgrid(down, across, indexing="ij"))
    return np.stack([np.zeros(len(x)), y, x], axis=1)


def read_points(file: Path) -> np.ndarray:
    """Query points f64 [N,3] of a file; UsageError where it is missing or of no known form.

    .csv  rows of x,y or x,y,t, with or without a line of names; .json  a list of such rows;
    .npz  ``points`` [N,2 or 3] of x, y, t, or ``query_points`` [N,3] of t, y, x, as tracks.npz and TAP-Vid have them.
    """
    reader = {".csv": _read_csv, ".json": _read_json, ".npz": _read_npz}.get(file.suffix.lower())
    if reader is None:
        raise UsageError(f"'{file}' is no grid and no file of points.", f"Give {FORMS}.")
    try:
        rows = np.asarray(reader(file), np.float64)
    except FileNotFoundError:
        raise UsageError(f"There is no file of points {file}.", "Check the path.") from None
    except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise UsageError(f"{file} cannot be read as points: {error}.", f"Give {FORMS}.") from None
    if rows.ndim != 2 or rows.shape[1] not in (2, 3) or not len(rows):
        raise UsageError(f"{file} holds no rows of x,y or x,y,t.", f"Give {FORMS}.")
    times = rows[:, 2] if rows.shape[1] == 3 else np.zeros(len(rows))
    return np.stack([times, rows[:, 1], rows[:, 0]], axis=1)


def _read_csv(file: Path) -> list[list[str]]:
    lines = [line for line in file.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    named = bool(lines) and re.match(r"\s*([-+.\d]|nan|inf)", lines[0]) is None
    return [line.split(",") for line in lines[named:]]


def _read_json(file: Path) -> list:
    return json.loads(file.read_text(encoding="utf-8"))


def _read_npz(file: Path) -> np.ndarray:
    with np.load(file, allow_pickle=False) as stored:
        return stored["query_points"][:, ::-1] if "query_points" in stored else stored["points"]


def _check(points: np.ndarray, request: GenerationRequest) -> None:
    """UsageError where a point is no number, outside of the window or of no result frame."""
    if len(points) > MOST:
        raise UsageError(f"{request.points} holds {len(points)} points.", f"Give at most {MOST}.")
    time, y, x = points.T
    inside = (x >= 0) & (x < request.width) & (y >= 0) & (y < request.height)
    sampled = (time >= 0) & (time < request.frames) & (time == np.floor(time))
    if not (inside & sampled).all():  # also where one is NaN
        first = int(np.flatnonzero(~(inside & sampled))[0])
        raise UsageError(
            f"Point {first + 1} of {request.points}, x={x[first]:g} y={y[first]:g} t={time[first]:g}, is not in the video.",
            f"x goes from 0 to {request.width}, y from 0 to {request.height}, t is a whole number from 0 to {request.frames - 1}.",
        )
