"""Between a task's picture and an image model: its depth as grey levels, and the size that the model works in."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np

from ...shared.errors import UsageError

OUTLIERS = 0.5  # percent at either end that one near grain or one far pixel cannot stretch
FLAT = 1.001  # depths whose ends differ by less, in proportion, are a wall: its noise is no relief
BEYOND = 0.1  # the level that the farthest known surface keeps before an unknown background, so that its outline stays
SMALLEST, LARGEST = 0.75, 2.0  # of the area that a model was trained on: within, a picture is painted at its own size


def near_is_white(depth: np.ndarray) -> np.ndarray:
    """f32 [H,W] in 0..1 of a depth f32 [H,W] (camera z in any unit): inverse depth, near 1, far 0.

    Both models were trained on the pictures of estimators of inverse depth, normalised so. What is not finite or not above
    0 is background: 0, and what is known then begins at 0.1. UsageError where nothing is known.
    """
    known = np.isfinite(depth) & (depth > 0)
    if not known.any():
        raise UsageError("The first frame's depth is unknown everywhere.", "Choose another source of depth, or a picture of your own as first frame.")
    inverse = np.divide(1.0, depth, out=np.zeros(depth.shape), where=known)
    far, near = np.percentile(inverse[known], (OUTLIERS, 100 - OUTLIERS))
    level = np.clip((inverse - far) / (near - far), 0, 1) if near > FLAT * far else np.ones(depth.shape)
    lowest = 0.0 if known.all() else BEYOND
    return np.where(known, lowest + (1 - lowest) * level, 0).astype(np.float32)


class Canvas(NamedTuple):
    """Sizes as (width, height): the ``picture``; the ``content``, which has exactly its proportions; and the ``size`` painted,
    a little larger where the model needs multiples. What is beside the content repeats its border."""

    picture: tuple[int, int]
    content: tuple[int, int]
    size: tuple[int, int]

    def fill(self, picture: np.ndarray) -> np.ndarray:
        """A picture [H,W] or [H,W,3], u8 or f32 in 0..1, at the painted size; f32 in 0..1."""
        levels = picture.astype(np.float32) / (255 if picture.dtype == np.uint8 else 1)
        content = np.clip(_resized(levels, self.content), 0, 1)
        (width, height), (inner_width, inner_height) = self.size, self.content
        beside = ((0, height - inner_height), (0, width - inner_width)) + ((0, 0),) * (picture.ndim - 2)
        return np.pad(content, beside, mode="edge")

    def cut(self, painted: np.ndarray) -> np.ndarray:
        """What was painted, f32 [h,w,3] in 0..1, back at the picture's size; u8."""
        width, height = self.content
        levels = _resized(painted[:height, :width], self.picture)
        return np.rint(255 * np.clip(levels, 0, 1)).astype(np.uint8)


def canvas_for(picture: tuple[int, int], side: int, multiple: int) -> Canvas:
    """Where a model that was trained on squares of ``side`` pixels, and needs multiples, paints a picture (width, height).

    A smaller picture is painted larger and a larger one smaller, at about side x side pixels; none is stretched.
    """
    width, height = picture
    common = math.gcd(width, height)
    share = width * height / side**2
    scaled = common if SMALLEST <= share <= LARGEST else max(1, round(common / math.sqrt(share)))
    content = (width // common * scaled, height // common * scaled)
    return Canvas(picture, content, tuple(-(-one // multiple) * multiple for one in content))


def _resized(levels: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    if (levels.shape[1], levels.shape[0]) == size:
        return levels
    # A depth map's edges must not overshoot, hence linear for one channel.
    larger = cv2.INTER_LINEAR if levels.ndim == 2 else cv2.INTER_CUBIC
    return cv2.resize(levels, size, interpolation=cv2.INTER_AREA if size[0] < levels.shape[1] else larger)
