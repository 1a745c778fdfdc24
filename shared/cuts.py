"""Where the camera of a measured shot cuts, and the pieces between."""

from __future__ import annotations

import numpy as np

from .measurements import FrameMeasure, Measurements
from .thresholds import JUMP, LEAST_CUT, LEAST_JUMP


def find_cuts(measured: Measurements) -> list[int]:
    """The samples before which the camera cuts: another camera of a marker, or a jump."""
    width, frames = measured.request.width, measured.frames
    cuts = []
    for index in range(1, len(frames)):
        motion = frames[index].view_motion
        switched = frames[index].camera != frames[index - 1].camera and motion > LEAST_CUT
        jumped = motion > LEAST_JUMP * width and JUMP.severity(motion / max(_motion_around(frames, index), 0.25))
        if switched or jumped:
            cuts.append(index)
    return cuts


def _motion_around(frames: list[FrameMeasure], index: int) -> float:
    """The median motion of the view in the four steps before and after one step."""
    around = [frames[other].view_motion for other in range(max(1, index - 4), min(len(frames), index + 5)) if other != index]
    return float(np.median(around)) if around else 0.0


def longest_shot(frames: list[FrameMeasure], cuts: list[int]) -> tuple[int, int]:
    """Whole frames, first and last, of the longest piece between cuts."""
    borders = [0, *cuts, len(frames)]
    pieces = [
        (int(np.ceil(frames[begin].frame)), int(np.floor(frames[end - 1].frame))) for begin, end in zip(borders, borders[1:])
    ]
    return max(pieces, key=lambda piece: piece[1] - piece[0])
