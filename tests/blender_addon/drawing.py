"""Comparing drawn pictures away from edges."""

import numpy as np


def near_edges(depth: np.ndarray, objects: np.ndarray, reach: int = 1) -> np.ndarray:
    """bool [H,W]: pixels within ``reach`` of a border between objects, or of a jump in depth."""
    edges = np.zeros(depth.shape, bool)
    flat = np.where(np.isfinite(depth), depth, 0)
    for axis in (0, 1):
        jump = (np.diff(objects.astype(int), axis=axis) != 0) | (np.abs(np.diff(flat, axis=axis)) > 0.02 * flat.max())
        before, after = [slice(None)] * 2, [slice(None)] * 2
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        edges[tuple(before)] |= jump
        edges[tuple(after)] |= jump
    for _ in range(reach):
        edges = grown(edges)
    return edges


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and its four neighbours."""
    larger = mask.copy()
    larger[1:] |= mask[:-1]
    larger[:-1] |= mask[1:]
    larger[:, 1:] |= mask[:, :-1]
    larger[:, :-1] |= mask[:, 1:]
    return larger
