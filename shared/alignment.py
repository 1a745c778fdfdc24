"""Does a picture line up with the geometry it shows? Its edges against the outlines of objects, at every small shift."""

from __future__ import annotations

import msgspec
import numpy as np

STEP_IN_DEPTH = 0.05  # neighbours this much deeper, in proportion, are an outline
MOST_EDGES = 6000  # more say nothing new
FEWEST_EDGES = 40
FEWEST_LEVELS = 4.0  # of 255: a picture whose strongest hundredth changes less is blank
SAME = 0.95  # of the best match: a flat summit is no shift
REACH = 24  # pixels, in a window of 480 lines and more


class Alignment(msgspec.Struct, frozen=True):
    """How outlines and picture agree.

    ``match`` is how much stronger the picture changes under the outlines than under the same outlines moved away: 0
    is chance, 1 is perfect. ``across`` and ``down`` are the shift in pixels at which the picture agrees best, and
    ``best`` is the match there. None of it is known where ``why_not`` says so.
    """

    match: float = 0.0
    across: int = 0
    down: int = 0
    best: float = 0.0
    why_not: str = ""

    @property
    def offset(self) -> float:
        """The length of the shift in pixels."""
        return float(np.hypot(self.across, self.down))


class _Edges(msgspec.Struct):
    """Places between two neighbouring pixels: of pixel (row, column) and the next to the right, or the next below."""

    beside: np.ndarray  # bool [H,W]
    below: np.ndarray  # bool [H,W]


def align(picture: np.ndarray, objects: np.ndarray, depth: np.ndarray) -> Alignment:
    """Measure a picture u8 [H,W,3] against objects int [H,W] (0 is nothing) and depth f32 [H,W] (inf is nothing).

    A picture's changes are ranked, so that a dark picture and a busy one are judged alike: chance is the mean rank
    under outlines moved by more than half of the reach.
    """
    outlines = _outlines(objects, depth)
    beside, below = (_places(mask) for mask in (outlines.beside, outlines.below))
    if len(beside) + len(below) < FEWEST_EDGES:
        return Alignment(why_not="the geometry has no outlines in the first frame")
    changes = _changes(picture)
    if max(np.percentile(change, 99) for change in changes) < FEWEST_LEVELS:
        return Alignment(why_not="the picture is blank")
    reach = int(np.clip(picture.shape[0] // 20, 12, REACH))
    scores = _scores([beside, below], [_ranked(change) for change in changes], reach)
    return _read(scores, reach)


def _outlines(objects: np.ndarray, depth: np.ndarray) -> _Edges:
    """Where two neighbours belong to different objects, or one lies much deeper."""
    near = np.where(np.isfinite(depth), depth, 1e30)

    def differ(axis: int) -> np.ndarray:
        low, high = (np.take(near, index, axis) for index in _neighbours(near.shape[axis]))
        here, there = (np.take(objects, index, axis) for index in _neighbours(near.shape[axis]))
        return (here != there) | (np.abs(high - low) > STEP_IN_DEPTH * np.minimum(low, high))

    return _Edges(np.pad(differ(1), ((0, 0), (0, 1))), np.pad(differ(0), ((0, 1), (0, 0))))


def _neighbours(length: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(length - 1), np.arange(1, length)


def _places(mask: np.ndarray) -> np.ndarray:
    """i64 [N,2] rows and columns, evenly thinned."""
    places = np.argwhere(mask)
    return places[:: max(1, len(places) // (MOST_EDGES // 2))]


def _changes(picture: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """f32 [H,W] each: the greatest channel's change to the right and down, of the greatest in a 3-pixel neighbourhood
    in that direction, because a render's edges are a pixel soft."""
    levels = picture.astype(np.float32)
    across = np.pad(np.abs(np.diff(levels, axis=1)).max(axis=-1), ((0, 0), (0, 1)))
    down = np.pad(np.abs(np.diff(levels, axis=0)).max(axis=-1), ((0, 1), (0, 0)))
    return _greatest_of_three(across, 1), _greatest_of_three(down, 0)


def _greatest_of_three(values: np.ndarray, axis: int) -> np.ndarray:
    return np.maximum(values, np.maximum(np.roll(values, 1, axis), np.roll(values, -1, axis)))


def _ranked(values: np.ndarray) -> np.ndarray:
    """Each value's rank in [0, 1] among all of them; equal values share theirs."""
    _, inverse, counts = np.unique(np.rint(values).astype(np.int32), return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - counts / 2
    return (middle / values.size).astype(np.float32)[inverse].reshape(values.shape)


def _scores(places: list[np.ndarray], ranks: list[np.ndarray], reach: int) -> np.ndarray:
    """f64 [2R+1,2R+1]: the mean rank under the outlines moved by (down, across); outside of the picture none counts."""
    height, width = ranks[0].shape
    scores = np.zeros((2 * reach + 1, 2 * reach + 1))
    for down in range(-reach, reach + 1):
        for across in range(-reach, reach + 1):
            total, count = 0.0, 0
            for places_of, rank in zip(places, ranks):
                row, column = places_of[:, 0] + down, places_of[:, 1] + across
                inside = (row >= 0) & (row < height) & (column >= 0) & (column < width)
                total += float(rank[row[inside], column[inside]].sum())
                count += int(inside.sum())
            scores[down + reach, across + reach] = total / max(count, 1)
    return scores


def _read(scores: np.ndarray, reach: int) -> Alignment:
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    chance = scores[np.hypot(rows, columns) > reach / 2].mean()
    matches = (scores - chance) / max(1 - chance, 1e-6)
    middle = matches[reach - 1 : reach + 2, reach - 1 : reach + 2]  # a pixel of tolerance
    match, best = float(middle.max()), float(matches.max())
    if match >= SAME * best:
        return Alignment(match, 0, 0, best)
    down, across = np.unravel_index(matches.argmax(), matches.shape)
    return Alignment(match, int(across - reach), int(down - reach), best)
