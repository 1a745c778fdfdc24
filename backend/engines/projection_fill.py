"""Fills for what the first frame does not show: from the picture around it, and from the nearest surface in space."""

from __future__ import annotations

import cv2
import numpy as np
from scipy.spatial import cKDTree

from .projection_view import View
from .projection_warp import FirstFrame

NEIGHBOURS = 32
LEAST_KNOWN = 16  # pixels of an object from which it is filled
MOST_SOURCES = 50_000  # of one object
CELL = 2.0  # side of the cells that share one colour, in pixels of the first frame
NEAR_ENOUGH = 0.5  # neighbours up to this share farther than the nearest will do, and are found much faster


def push_pull(picture: np.ndarray, known: np.ndarray) -> np.ndarray:
    """f32 [H,W,3] with the pixels that are not ``known`` filled smoothly from those that are; some must be.

    A pyramid of weighted means down, what is missing taken from the coarser level up
    (Gortler et al., The Lumigraph, 1996, section 3.4; Kraus 2009).
    """
    weight = known.astype(np.float32)[..., None]
    return _push_pull(np.concatenate([picture * weight, weight], axis=-1))


def _push_pull(level: np.ndarray) -> np.ndarray:
    """Colour times weight, and weight, f32 [h,w,4], to a colour everywhere, f32 [h,w,3]."""
    colour, weight = level[..., :3], level[..., 3:]
    mean = colour / np.maximum(weight, 1e-9)
    if min(level.shape[:2]) == 1 or weight.min() >= 1:
        total = max(float(weight.sum()), 1e-9)
        return np.where(weight > 0, mean, colour.sum(axis=(0, 1)) / total)
    down = cv2.pyrDown(level)
    coarse = _push_pull(down / np.maximum(down[..., 3:], 0.25))  # a quarter of known pixels makes a known one
    above = cv2.pyrUp(coarse, dstsize=(level.shape[1], level.shape[0]))
    return mean * weight + above * (1 - weight)


def fill_by_object(picture: np.ndarray, known: np.ndarray, label: np.ndarray, holes: np.ndarray) -> np.ndarray:
    """f32 [N,3] of the ``holes``: each object filled from itself, so that nothing bleeds into its neighbours.

    nan for an object of which hardly anything is ``known``.
    """
    filled = np.full_like(picture, np.nan)
    for number in np.unique(label[holes]):
        own = label == number
        box = _box(own)
        source, wanted = (known & own)[box], (holes & own)[box]
        if np.count_nonzero(source) >= LEAST_KNOWN:
            filled[box][wanted] = push_pull(picture[box], source)[wanted]
    return filled[holes]


def _box(mask: np.ndarray) -> tuple[slice, slice]:
    """The smallest rows and columns that hold all of a mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


class NearestSurface:
    """Colours of hidden points from the surface seen in the first frame that is nearest in space.

    The mean of about 32 neighbours by inverse distance, of the same object where it is seen enough. A point's
    colour does not depend on the frame: points share cells, and each cell is looked up once.
    """

    def __init__(self, first: FirstFrame):
        view = first.view
        source = view.located & ~first.edge
        source = source if source.any() else view.located
        self._positions = view.positions[source].astype(np.float64)
        self._colours = first.clean[source]
        self._labels = view.label[source]
        self._cell = max(CELL * _pixel_width(view, source), 1e-9)
        self._trees: dict[int, tuple[cKDTree, np.ndarray]] = {}
        self._known = np.zeros(0, np.int64), np.zeros((0, 3), np.float32)  # keys of cells in order, their colours

    @property
    def empty(self) -> bool:
        return not len(self._positions)

    def colours(self, positions: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """f32 [N,3] of positions [N,3] on objects i32 [N]."""
        cells = np.rint(positions / self._cell).astype(np.int64)
        keys, first, owner = np.unique(_keys(cells, labels), return_index=True, return_inverse=True)
        fresh = ~np.isin(keys, self._known[0], assume_unique=True)
        if fresh.any():
            self._remember(keys[fresh], cells[first[fresh]] * self._cell, labels[first[fresh]])
        known, colours = self._known
        return colours[np.searchsorted(known, keys)[owner.reshape(-1)]]

    def _remember(self, keys: np.ndarray, positions: np.ndarray, labels: np.ndarray) -> None:
        found = np.empty((len(keys), 3), np.float32)
        for label in np.unique(labels):
            chosen = labels == label
            found[chosen] = self._look_up(positions[chosen], int(label))
        keys, colours = np.concatenate([self._known[0], keys]), np.concatenate([self._known[1], found])
        order = np.argsort(keys)
        self._known = keys[order], colours[order]

    def _look_up(self, positions: np.ndarray, label: int) -> np.ndarray:
        tree, colours = self._tree(label)
        count = min(NEIGHBOURS, len(colours))
        distance, index = tree.query(positions, k=range(1, count + 1), eps=NEAR_ENOUGH, workers=-1)
        weight = (1 / np.maximum(distance, self._cell / 4)).astype(np.float32)
        return np.einsum("nk,nkc->nc", weight / weight.sum(axis=-1, keepdims=True), colours[index])

    def _tree(self, label: int) -> tuple[cKDTree, np.ndarray]:
        """Of one object's sources, or of all (0) where it has too few."""
        if label not in self._trees:
            chosen = np.flatnonzero(self._labels == label) if label else np.arange(len(self._labels))
            if label and len(chosen) < NEIGHBOURS:
                self._trees[label] = self._tree(0)
            else:
                chosen = chosen[:: -(-len(chosen) // MOST_SOURCES)]
                self._trees[label] = cKDTree(self._positions[chosen]), self._colours[chosen]
        return self._trees[label]


def _keys(cells: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """One number a cell and object: 16 bits of each. Cells that share one lie 65536 cells apart."""
    parts = np.concatenate([cells, labels[:, None]], axis=-1).astype(np.int64) & 0xFFFF
    return parts @ (np.int64(1) << np.array([0, 16, 32, 48], np.int64))


def _pixel_width(view: View, source: np.ndarray) -> float:
    """The median distance between surface points that are neighbours in the first frame."""
    both = source[:, 1:] & source[:, :-1] & (view.label[:, 1:] == view.label[:, :-1])
    steps = np.linalg.norm(np.diff(view.positions, axis=1)[both], axis=-1)
    return float(np.median(steps)) if len(steps) else 0.0
