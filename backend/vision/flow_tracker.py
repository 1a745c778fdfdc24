"""The embedded tracker: OpenCV on any CPU, without weights.

Every point is followed twice: step by step by flow, and with the backdrop (:mod:`backdrop`), which never drifts and goes on
while the point is hidden. The whole video then decides which of the two a point belongs to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np

from ...shared.errors import Cancelled
from .backdrop import Hiding, backdrop_motion

CONSISTENT = 1.5  # pixels that a point may miss itself by, there and back
STEPS = (1, 2)  # frames; longer ones lose more than they pass over
LOST = 6.0  # pixels of doubt, beside what it misses itself by, where a step does not lead back
MOVES_ALONG = 0.3  # of Hiding: less is the backdrop's own
HIDES = 0.7  # of Hiding: more hides it
SAME_COLOUR, VERY_SAME = 10.0, 6.0  # levels
MOSTLY = 0.7  # of the frames
ENOUGH = 3  # frames


def track_by_flow(
    video: np.ndarray,
    points: np.ndarray,
    *,
    method: str,
    cancelled: Callable[[], bool],
    progress: Callable[[int, int], None],
) -> tuple[np.ndarray, np.ndarray]:
    """xy f64 [T,N,2] and visible bool [T,N] of points f64 [N,2] of the first frame of a video u8 [T,H,W,3]."""
    told = _Told(3 * len(video), cancelled, progress)
    grey = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in video]
    moved, consistent = _followed(grey, points, method, told)
    motions = np.stack(list(told(backdrop_motion(grey))))
    behind = np.stack([cv2.perspectiveTransform(points[None], motion)[0] for motion in motions])
    with_backdrop, uncovered = _of_backdrop(video, motions, behind, told)
    xy = np.where(with_backdrop[:, None], behind, moved)
    visible = np.where(with_backdrop, uncovered, consistent) & _inside(xy, grey[0].shape)
    visible[0] = True
    return xy, visible


class _Told:
    """Steps that are counted aloud and end where it is asked for."""

    def __init__(self, total: int, cancelled: Callable[[], bool], progress: Callable[[int, int], None]):
        self._done, self._total, self._cancelled, self._progress = 0, total, cancelled, progress

    def __call__(self, steps: Iterator) -> Iterator:
        for step in steps:
            if self._cancelled():
                raise Cancelled("Cancelled.")
            yield step
            self._done += 1
            self._progress(self._done, self._total)


def _followed(grey: list[np.ndarray], points: np.ndarray, method: str, told: _Told) -> tuple[np.ndarray, np.ndarray]:
    """xy f64 [T,N,2] by flow, and bool [T,N]: does the step lead back to where it came from?

    A step starts from the frame before, or from the one before that: for each point by what leads back best, all the way
    from the first frame. So a frame in which a point is blurred or hidden can be passed over.
    """
    step = {"dis": step_by_dis, "lucas_kanade": step_by_lucas_kanade}[method]
    xy, consistent, doubt = [points], [np.ones(len(points), bool)], [np.zeros(len(points))]
    for index in told(iter(range(len(grey)))):
        ways = [(*step(grey[index - far], grey[index], xy[index - far]), doubt[index - far]) for far in STEPS if far <= index]
        if not ways:
            continue
        places, missed, before = (np.stack(each) for each in zip(*ways))
        doubts = before + np.minimum(missed, 20) + np.where(missed < CONSISTENT, 1, LOST)
        best = doubts.argmin(axis=0), np.arange(len(points))
        xy.append(places[best])
        consistent.append(missed[best] < CONSISTENT)
        doubt.append(doubts[best])
    return np.stack(xy), np.stack(consistent)


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


def _of_backdrop(video: np.ndarray, motions: np.ndarray, behind: np.ndarray, told: _Told) -> tuple[np.ndarray, np.ndarray]:
    """bool [N]: does a point belong to the backdrop? bool [T,N]: is the backdrop seen where it would then be?

    It does where it moves along in the first frame, or where its colour is found again, in most of the frames in which the
    backdrop is seen at all.
    """
    hiding, half = Hiding(video, motions), np.array(video.shape[2:0:-1]) // 2 / video.shape[2:0:-1]
    hidden, differing = [], []
    for index, xy in told(enumerate(behind)):
        hidden.append(sample(hiding.of(index)[..., None], xy * half)[:, 0])
        colours = sample(cv2.GaussianBlur(video[index], (0, 0), 1).astype(np.float32), xy)
        first = colours if index == 0 else first
        differing.append(np.abs(colours - first).max(axis=1))
    hidden, differing = np.stack(hidden), np.stack(differing)
    inside = _inside(behind, video.shape[1:3])
    uncovered = (hidden < HIDES) & inside
    count = uncovered[1:].sum(axis=0)
    found_again = (uncovered & (differing < SAME_COLOUR))[1:].sum(axis=0) >= MOSTLY * count
    belongs = (hidden[0] < MOVES_ALONG) | (found_again & (count >= ENOUGH))
    return belongs, uncovered | ((differing < VERY_SAME) & inside)


def sample(field: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """A field f32 [H,W,C] at pixels [N,2], between centres mixed; beyond the edge the edge's. f64 [N,C]"""
    if not len(xy):
        return np.empty((0, field.shape[2]))
    at = (xy - 0.5).clip(-1, np.array(field.shape[1::-1])).astype(np.float32)
    parts = np.array_split(at, len(at) // 30_000 + 1)  # OpenCV's pictures have at most 32767 columns
    sampled = [
        cv2.remap(field, part[None, :, 0], part[None, :, 1], cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0] for part in parts
    ]
    return np.concatenate(sampled).astype(np.float64).reshape(len(xy), -1)


def _inside(xy: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return (xy >= 0).all(axis=-1) & (xy[..., 0] < shape[1]) & (xy[..., 1] < shape[0])
