"""What lies behind everything and moves as one plane, such as a ground, a wall, or anything far away: its motion, and where
it is hidden. Flow alone gets lost on it, since much of it has no texture and what crosses it drags it along.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

CENTRE = np.array([[1, 0, 0.5], [0, 1, 0.5], [0, 0, 1.0]])  # from OpenCV's pixels, whose centre is (0, 0), to ours
STRAYING = 0.7  # pixels that a corner may be off the common motion
FEWEST = 16  # corners that a motion is believed from
SEEN_AGAIN = 0.5  # of the picture that an anchor must still show
DISTANCES = (1, 2, 4)  # frames over which motion is compared
MOST_DIFFERENCE = 30.0  # levels; more says no more
REACH = 6  # of the filter, in half-size pixels


def backdrop_motion(grey: list[np.ndarray]) -> Iterator[np.ndarray]:
    """f64 [3,3] for each frame u8 [H,W]: where the first frame's pixels (i covers [i, i+1)) of the backdrop are in it.

    Each step is the homography of most corners. It is then mended against an anchor, an earlier frame that is warped to lie
    over this one, so that errors grow with the anchors and not with the frames.
    """
    anchor, there, here = grey[0], np.eye(3), np.eye(3)
    yield here
    for before, after in zip(grey, grey[1:]):
        here = _common_motion(before, after, levels=4, missing=0.5) @ here
        relative = here @ np.linalg.inv(there)
        seen = _warped(np.full_like(anchor, 255), relative)
        seen = cv2.erode(seen, np.ones((25, 25), np.uint8), borderType=cv2.BORDER_CONSTANT, borderValue=0)
        here = _common_motion(_warped(anchor, relative), after, levels=1, missing=0.3, mask=seen) @ here
        here /= here[2, 2]
        yield CENTRE @ here @ np.linalg.inv(CENTRE)
        if (seen > 0).mean() < SEEN_AGAIN:
            anchor, there = after, here


def _common_motion(before: np.ndarray, after: np.ndarray, *, levels: int, missing: float, mask: np.ndarray | None = None) -> np.ndarray:
    """The homography that most corners share; none where too few do."""
    corners = cv2.goodFeaturesToTrack(before, 4000, 0.0005, 4, mask=mask)
    if corners is None:
        return np.eye(3)
    window = {"winSize": (21, 21), "maxLevel": levels}
    there, found, _ = cv2.calcOpticalFlowPyrLK(before, after, corners, None, **window)
    back, again, _ = cv2.calcOpticalFlowPyrLK(after, before, there, None, **window)
    good = (found & again)[:, 0].astype(bool) & (np.linalg.norm(back - corners, axis=2)[:, 0] < missing)
    if good.sum() < FEWEST:
        return np.eye(3)
    motion, agreeing = cv2.findHomography(corners[good], there[good], cv2.RANSAC, STRAYING, maxIters=5000, confidence=0.9999)
    return motion if motion is not None and agreeing.sum() >= FEWEST else np.eye(3)


def _warped(picture: np.ndarray, motion: np.ndarray) -> np.ndarray:
    return cv2.warpPerspective(picture, motion, picture.shape[1::-1])


class Hiding:
    """How much each pixel of a frame moves otherwise than the backdrop, which it then hides."""

    def __init__(self, video: np.ndarray, motions: np.ndarray):
        """``video`` u8 [T,H,W,3], ``motions`` f64 [T,3,3] of :func:`backdrop_motion`. Looks at half the size."""
        height, width = video.shape[1:3]
        self._size = (max(1, width // 2), max(1, height // 2))
        self._frames = [cv2.resize(frame, self._size, interpolation=cv2.INTER_AREA) for frame in video]
        shrink = np.diag([self._size[0] / width, self._size[1] / height, 1.0])
        self._motions = [np.linalg.inv(CENTRE) @ shrink @ motion @ np.linalg.inv(shrink) @ CENTRE for motion in motions]

    def of(self, index: int) -> np.ndarray:
        """f32 [H/2,W/2]: about 0 where a pixel moves with the backdrop, 1 and more where something else is.

        What is left when neighbouring frames are laid over this one by the backdrop's motion, against what would be left
        if it moved by a few pixels; both are gathered along the picture's own edges, since only texture can tell.
        """
        frame = self._frames[index].astype(np.float32)
        guide = _strongest_channel(frame)
        left = _gathered(self._unexplained(index, frame), guide)
        return left / np.maximum(_gathered(_contrast(frame), guide), 0.5)

    def _unexplained(self, index: int, frame: np.ndarray) -> np.ndarray:
        """The smaller of what earlier and later frames leave: what is just uncovered, earlier ones do not show."""
        sides = []
        for way in (-1, 1):
            others = [index + way * distance for distance in DISTANCES if 0 <= index + way * distance < len(self._frames)]
            total, count = np.zeros(frame.shape[:2], np.float32), np.zeros(frame.shape[:2], np.float32)
            for other in others:
                shown, known = self._laid_over(other, index)
                total += _difference(shown, frame) * known
                count += known
            sides.append(np.where(count > 0, total / np.maximum(count, 1), np.inf))
        least = np.minimum(*sides)
        return np.where(np.isfinite(least), least, 0).astype(np.float32)

    def _laid_over(self, other: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Another frame as the backdrop's motion lays it over this one, and f32 [h,w] 1 where it shows anything."""
        motion = self._motions[other] @ np.linalg.inv(self._motions[index])
        how = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        shown = cv2.warpPerspective(self._frames[other].astype(np.float32), motion, self._size, flags=how)
        known = cv2.warpPerspective(np.ones(self._size[::-1], np.float32), motion, self._size, flags=how)
        return shown, (known > 0.99).astype(np.float32)


def _difference(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    return np.minimum(np.abs(one - other).max(axis=-1), MOST_DIFFERENCE)


def _contrast(frame: np.ndarray) -> np.ndarray:
    """What a motion of two to three pixels would leave."""
    moves = [(down * far, across * far) for far in (1, 3) for down, across in ((1, 0), (-1, 0), (0, 1), (0, -1))]
    return np.mean([_difference(np.roll(frame, move, (0, 1)), frame) for move in moves], axis=0)


def _strongest_channel(frame: np.ndarray) -> np.ndarray:
    """The mixture of R, G and B in which a frame differs most: things often differ in hue alone."""
    colours = frame.reshape(-1, 3) - frame.reshape(-1, 3).mean(axis=0)
    axis = np.linalg.eigh(colours.T @ colours)[1][:, -1]
    return (colours @ axis).reshape(frame.shape[:2])


def _gathered(values: np.ndarray, guide: np.ndarray) -> np.ndarray:
    """Means over a neighbourhood that ends at the guide's edges (guided filter; He, Sun and Tang, 2010)."""

    def mean(each: np.ndarray) -> np.ndarray:
        return cv2.boxFilter(each, -1, (2 * REACH + 1, 2 * REACH + 1), borderType=cv2.BORDER_REFLECT)

    middle, level = mean(guide), mean(values)
    slope = (mean(guide * values) - middle * level) / (mean(guide * guide) - middle * middle + 25.0)
    return mean(slope) * guide + mean(level - slope * middle)
