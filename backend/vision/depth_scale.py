"""The scale of estimated depth: the same in all frames of a video, and a stated unit where a model knows none."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import gaussian_filter1d

NEAR_SHARE = 1.0  # percent of pixels that may be nearer than 1
FARTHEST = 50.0  # times as far as the nearest
SMOOTH = 4.0  # frames over which a change of scale is taken for the camera's
NOTICED = 1.005  # a factor


def steady(z: np.ndarray, relative: bool) -> tuple[np.ndarray, list[str]]:
    """z f32 [S,H,W], inf where unknown, without the flicker of scale from frame to frame; and a note where there was any.

    The scale of a frame against the one before is the median ratio of depth over pixels known in both, which things that
    move by themselves do not change. Where a model knows no unit (``relative``) each frame takes the first one's scale;
    where it does, only what changes faster than over a few frames is taken out.
    """
    steps = [0.0, *(_step(before, after) for before, after in zip(z, z[1:]))]
    drift = np.cumsum(steps)
    wanted = np.zeros(len(z)) if relative else gaussian_filter1d(drift, SMOOTH, mode="nearest")
    factors = np.exp(wanted - drift)
    factors /= factors[0]
    change = max(factors.max(), 1 / factors.min())
    if change < NOTICED:
        return z, []
    note = f"The depth of single frames is brought to one scale by the median of neighbouring frames (factors up to {change:.2f})."
    return z * factors[:, None, None].astype(np.float32), [note]


def _step(before: np.ndarray, after: np.ndarray) -> float:
    """Log of the median ratio; 0 where the frames have no known pixel in common."""
    known = np.isfinite(before) & np.isfinite(after)
    return float(np.median(np.log(after[known] / before[known]))) if known.any() else 0.0


def in_units_of_the_nearest(z: np.ndarray) -> np.ndarray:
    """z so that the nearest of the first frame (but for 1 % of its pixels) is 1 away, and nothing farther than 50."""
    known = z[0][np.isfinite(z[0])]
    nearest = np.percentile(known, NEAR_SHARE) if len(known) else 1.0
    return np.minimum(z / np.float32(nearest), np.float32(FARTHEST))
