"""What lies behind all surface: moved as if infinitely far away, never taken from a surface's pixels."""

from __future__ import annotations

import cv2
import numpy as np

from .projection_fill import push_pull
from .projection_view import View
from .projection_warp import FirstFrame, bilinear, on_screen

SMOOTH = 1 / 40  # of the width


class Background:
    """The first frame's background, completed smoothly behind its surfaces and beyond its borders."""

    def __init__(self, first: FirstFrame, margin: np.ndarray):
        self._image = first.image
        self._own = first.view.background & ~margin
        self.seen = bool(self._own.any())
        if self.seen:
            inner = cv2.erode(self._own.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool)  # the rim is a mixture
            self._whole = push_pull(first.image, inner if inner.any() else self._own)
            self._smooth = cv2.GaussianBlur(self._whole, (0, 0), self._own.shape[1] * SMOOTH)

    def draw(self, result: np.ndarray, view: View, motion: np.ndarray, unchanged: np.ndarray) -> None:
        """Set the background pixels of a frame f32 [H,W,3].

        ``motion`` f32 [H,W,2] says where each came from (nan: unknown); ``unchanged`` edges stay as they were.
        """
        wanted = view.background
        if not wanted.any():
            return
        if not self.seen:  # then the surface is all there is to go by
            result[wanted] = push_pull(result, ~wanted)[wanted] if not wanted.all() else self._image.mean(axis=(0, 1))
            return
        inside = on_screen(motion)
        self._draw_inside(result, wanted & inside, motion, unchanged)
        self._draw_beyond(result, wanted & ~inside, motion)

    def _draw_inside(self, result: np.ndarray, chosen: np.ndarray, motion: np.ndarray, unchanged: np.ndarray) -> None:
        places = motion[chosen]
        left, top = places.astype(np.intp).T
        mixture = (unchanged[chosen] & self._own[top, left])[:, None]
        result[chosen] = np.where(mixture, bilinear(self._image, places), bilinear(self._whole, places))

    def _draw_beyond(self, result: np.ndarray, chosen: np.ndarray, motion: np.ndarray) -> None:
        """Off screen in the first frame: the nearest part of its border, without detail that would make streaks."""
        rows, columns = np.nonzero(chosen)
        here = np.stack([columns, rows], axis=-1) + np.float32(0.5)
        places = motion[rows, columns]
        result[chosen] = bilinear(self._smooth, np.where(np.isfinite(places), places, here))


def black_margin(first_frame: np.ndarray, tracking: np.ndarray) -> np.ndarray:
    """bool [H,W]: whole rows and columns along the borders, black in the first frame u8 [H,W,3] and in all of the
    tracking video u8 [T,H,W,3]: what ``fit = pad`` leaves beside the camera's view."""
    black = ~first_frame.any(axis=-1) & ~tracking.any(axis=(0, -1))
    rows, columns = black.all(axis=1), black.all(axis=0)
    return _ends(rows)[:, None] | _ends(columns)[None, :]


def _ends(full: np.ndarray) -> np.ndarray:
    """The runs of True that begin at either end."""
    return np.logical_and.accumulate(full) | np.logical_and.accumulate(full[::-1])[::-1]
