"""The picture of docs/motion-transfer.md: frames of a video, and of the tracking video that was made of them.

    das motion-transfer VIDEO --only-tracking -o TAKE
    python docs/images/motion_figure.py FRAMES_OF_THE_VIDEO TAKE
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

SHOWN = (1, 17, 33)
TILE = (300, 200)


def row(folder: Path) -> np.ndarray:
    pictures = [Image.open(folder / f"{number:04d}.png").convert("RGB").resize(TILE, Image.Resampling.LANCZOS) for number in SHOWN]
    return np.concatenate([np.pad(np.asarray(picture), ((2, 2), (2, 2), (0, 0))) for picture in pictures], axis=1)


if __name__ == "__main__":
    frames, take = map(Path, sys.argv[1:])
    both = Image.fromarray(np.concatenate([row(frames), row(take / "tracking")]))
    both.save(Path(__file__).with_name("motion_transfer.jpg"), quality=88)
