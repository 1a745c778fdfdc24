"""The picture of a validation sample: ``python training_figure.py SAMPLE.mp4 FILE.png`` with the backend's Python.

A row a time; from left to right the tracking video, what the model made of it, and the true clip.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from diffusion_as_shader.backend.images import ImageioImages

TIMES, SCALE, GAP = 4, 2, 6


def figure(frames: np.ndarray) -> np.ndarray:
    """u8 [H,W,3] of a sample's frames u8 [T,h,3w,3]."""
    rows = []
    for time in np.linspace(0, len(frames) - 1, TIMES).round().astype(int):
        parts = [part.repeat(SCALE, 0).repeat(SCALE, 1) for part in np.split(frames[time], 3, axis=1)]
        rows.append(np.concatenate([np.pad(part, ((0, GAP), (0, GAP), (0, 0)), constant_values=255) for part in parts], axis=1))
    return np.concatenate(rows)[:-GAP, :-GAP]


if __name__ == "__main__":
    sample, file = map(Path, sys.argv[1:])
    Image.fromarray(figure(ImageioImages().read_video(sample))).save(file, optimize=True)
