"""The embedded tracker: OpenCV on any CPU, without weights."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from ...shared.errors import Cancelled

CONSISTENT = 1.5  # pixels that a point may miss itself by, there and back


def track_by_flow(
    video: np.ndarray,
    points: np.ndarray,
    *,
    method: str,
    cancelled: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """xy f64 [T,N,2] and visible bool [T,N] of points f64 [N,2] of the first frame of a video u8 [T,H,W,3]."""
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video]
    step = {"dis": step_by_dis, "lucas_kanade": step_by_lucas_kanade}[method]
    xy, visible = [points], [np.ones(len(points), bool)]
    for index in range(1, len(grey)):
        if cancelled():
            raise Cancelled("Cancelled.")
        moved, missed = step(grey[index - 1], grey[index], xy[-1])
        xy.append(moved)
        visible.append((missed < CONSISTENT) & _inside(moved, grey[index].shape))
        progress(index, len(grey) - 1)
    return np.stack(xy), np.stack(visible)


def step_by_dis(before: np.ndarray, after: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where points [N,2] are in the next frame, and by how many pixels [N] each misses itself on the way back."""
    search = cv2.DISOpticalFlow_create(cv2.DISOpticalFlow_PRESET_MEDIUM)
    there, back = search.calc(before, after, None), search.calc(after, before, None)
    moved = xy + sample(there, xy)
    return moved, np.linalg.norm(moved + sample(back, moved) - xy, axis=1)


def step_by_lucas_kanade(before: np.ndarray, after: np.ndarray, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`step_by_dis`, by pyramids of windows around each point."""
    given = (xy - 0.5).astype(np.float32)[:, None]
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, given, None, winSize=(21, 21), maxLevel=4)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, winSize=(21, 21), maxLevel=4)
    missed = np.linalg.norm(back - given, axis=2)[:, 0]
    missed[(found & again)[:, 0] == 0] = np.inf
    return there[:, 0].astype(np.float64) + 0.5, missed


def sample(field: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """A field f32 [H,W,C] at pixels [N,2], between centres mixed; beyond the edge the edge's."""
    if not len(xy):
        return np.empty((0, field.shape[2]))
    at = (xy - 0.5).astype(np.float32)
    # OpenCV's pictures have at most 32767 columns.
    parts = [
        cv2.remap(field, part[None, :, 0], part[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        for part in np.array_split(at, len(at) // 30_000 + 1)
    ]
    return np.concatenate(parts).astype(np.float64)


def _inside(xy: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    return (xy >= 0).all(axis=1) & (xy[:, 0] < shape[1]) & (xy[:, 1] < shape[0])
