"""Which scene frames a generation samples, and how its results lie on the timeline again."""

from __future__ import annotations

import numpy as np


def sample_frames(start: float, end: float, count: int) -> np.ndarray:
    """f64 [count]: t_i = start + i (end - start) / (count - 1), sub-frames included."""
    return start + np.arange(count) * ((end - start) / (count - 1))


def split_frame(frame: float) -> tuple[int, float]:
    """Whole frame and sub-frame in [0, 1), as Blender's frame_set takes them."""
    whole = int(np.floor(frame))
    subframe = float(frame - whole)
    # 1e-4 of a frame is below what an animation curve can show; without this 48.9999999 is frame 48.
    return (whole + 1, 0.0) if subframe > 1 - 1e-4 else (whole, subframe if subframe > 1e-4 else 0.0)


def strip_elements(start: float, end: float, count: int) -> list[int]:
    """For every timeline frame of the range the 0-based result that is nearest to it.

    The list has floor(end) - ceil(start) + 1 entries (B - A + 1 for whole frames), at least one: a strip
    made of it lasts as long as the range did, with results repeated or left out, never a speed effect.
    """
    timeline = np.arange(np.ceil(start), np.floor(end) + 1) if np.floor(end) >= np.ceil(start) else np.array([start])
    nearest = np.rint((timeline - start) * (count - 1) / (end - start))
    return [int(index) for index in np.clip(nearest, 0, count - 1)]


def video_fps(start: float, end: float, count: int, scene_fps: float) -> float:
    """The rate at which ``count`` frames last as long as the range does in the scene."""
    return count * scene_fps / (end - start + 1)
