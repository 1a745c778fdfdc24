"""What lies behind all surface: moved as if infinitely far away, never taken from a surface's pixels."""

from __future__ import annotations

import cv2
import numpy as np

from .projection_fill import push_pull
from .projection_view import View
from .projection_warp import FirstFrame, bilinear, on_screen


class Background:
    """The first frame's background, completed smoothly behind its surfaces."""

    def __init__(self, first: FirstFrame):
        self._image = first.image
        self._own = first.view.background
        inner = cv2.erode(self._own.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)  # the rim is a mixture
        known = inner if inner.any() else self._own
        self._whole = push_pull(first.image, known) if known.any() else None

    def draw(self, result: np.ndarray, view: View, motion: np.ndarray, alike: np.ndarray) -> None:
        """Set the background pixels of a frame f32 [H,W,3].

        ``motion`` f32 [H,W,2] says where each came from (nan: unknown), ``alike`` where an edge of the first
        frame moves as a whole, so that its mixture is still right.
        """
        wanted = view.background
        if not wanted.any():
            return
        seen = wanted & on_screen(motion) & (self._whole is not None)
        if seen.any():
            rows, columns = np.nonzero(seen)
            places = motion[rows, columns]
            left, top = places.astype(np.intp).T
            unchanged = (alike[rows, columns] & self._own[top, left])[:, None]
            result[seen] = np.where(unchanged, bilinear(self._image, places), bilinear(self._whole, places))
        self._fill(result, wanted & ~seen, seen if seen.any() else ~wanted)

    def _fill(self, result: np.ndarray, missing: np.ndarray, known: np.ndarray) -> None:
        """Background that was off screen; surface is the source only where there is nothing else."""
        if missing.any():
            mean = self._image.mean(axis=(0, 1))
            result[missing] = push_pull(result, known)[missing] if known.any() else mean
