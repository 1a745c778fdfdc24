"""A take's video small enough to lie inside a page."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import numpy as np

from .batch_state import read_record
from .take import Images, TakeRecord
from .timeline import video_fps

WIDTH = 320
MOST_FRAMES = 97
SMALL = 120_000  # bytes: a video that may be used as it is


def clip_of(take: Path, images: Images, file: Path) -> Path | None:
    """An mp4 of the results that are there, made at ``file`` where the take's own video is too large; None without results.

    What was made at ``file`` before is used again as long as the take has not changed since.
    """
    record = read_record(take)
    if record is None:
        return None
    video = take / "video.mp4"
    if record.state == "done" and video.exists() and video.stat().st_size <= SMALL:
        return video
    if file.exists() and file.stat().st_mtime >= (take / "take.json").stat().st_mtime:
        return file
    frames = sorted((take / "frames").glob("[0-9]*.png"))
    if len(frames) < 2:
        return None
    _write(record, frames, images, file)
    return file


def _write(record: TakeRecord, frames: list[Path], images: Images, file: Path) -> None:
    request, every = record.request, math.ceil(len(frames) / MOST_FRAMES)
    fps = video_fps(request.start, request.end, request.frames, request.scene_fps) / every
    file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="das-clip-") as folder:
        small = [Path(folder) / f"{number:04d}.png" for number in range(1, len(frames[::every]) + 1)]
        for source, target in zip(frames[::every], small):
            images.write(target, shrunk(images.read(source)))
        images.write_video(file, small, fps)


def shrunk(pixels: np.ndarray) -> np.ndarray:
    """u8 [H,W,3] by a whole factor, so that it is at most WIDTH wide; each pixel the mean of those it stands for."""
    factor = math.ceil(pixels.shape[1] / WIDTH)
    if factor == 1:
        return pixels
    height, width = (max(side // factor, 1) for side in pixels.shape[:2])
    blocks = pixels[: height * factor, : width * factor].reshape(height, factor, width, factor, 3)
    return np.rint(blocks.mean(axis=(1, 3), dtype=np.float32)).astype(np.uint8)
