"""A tracking video that was made elsewhere, and its first frame, as a take that any engine can run on."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np

from ..shared.errors import UsageError
from ..shared.request import MAX_FRAMES, GenerationRequest, check
from ..shared.take import Take
from .images import ImageioImages

PICTURES = {".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp"}


def take_from_tracking(folder: Path, tracking: Path, request: GenerationRequest) -> Take:
    """A prepared take in a new ``folder``, of the tracking video's own size and length.

    ``tracking`` is a video file or a folder of images in the order of their names; ``request.first_frame``
    names an image of the same size. Nothing is stretched, cut or repeated: UsageError where the sizes differ,
    the frame count is not 8N+1, or something is missing.
    """
    if request.first_frame.source != "file":
        raise UsageError("A tracking video needs its first frame as an image.", "Give it with --first-frame IMAGE.")
    images = ImageioImages()
    frames = read_tracking(Path(tracking), images)
    first_frame = images.read(Path(request.first_frame.path))
    _check_same_size(first_frame, frames)
    count, height, width = frames.shape[:3]
    own = {"width": width, "height": height, "frames": count, "start": 1.0, "end": float(count)}
    take = Take.create(folder, check(msgspec.structs.replace(request, **own)), images)
    take.write_first_frame(first_frame)
    for index, frame in enumerate(frames):
        take.write_tracking_frame(index, frame)
    take.note(f"The tracking video came from {Path(tracking).name}, without depth or cameras.")
    take.save()
    return take


def read_tracking(source: Path, images: ImageioImages) -> np.ndarray:
    """u8 [T,H,W,3] of a video file or of a folder's images."""
    if not source.is_dir():
        return images.read_video(source)
    files = picture_files(source)
    if len(files) > MAX_FRAMES:
        raise UsageError(f"The folder {source} holds more than {MAX_FRAMES} images.", "Give fewer frames.")
    frames = [images.read(file) for file in files]
    for file, frame in zip(files, frames):
        if frame.shape != frames[0].shape:
            raise UsageError(f"{file} is {_size(frame)}, {files[0].name} is {_size(frames[0])}.", "All must be of one size.")
    return np.stack(frames)


def picture_files(folder: Path) -> list[Path]:
    """A folder's images in the order of the numbers in their names. UsageError where it holds none."""
    files = sorted((file for file in folder.iterdir() if file.suffix.lower() in PICTURES), key=_by_number)
    if not files:
        raise UsageError(f"The folder {folder} holds no images.", "Give the folder of the video's frames.")
    return files


def _check_same_size(first_frame: np.ndarray, frames: np.ndarray) -> None:
    if first_frame.shape != frames[0].shape:
        raise UsageError(
            f"The first frame is {_size(first_frame)}, the tracking video {_size(frames[0])}.",
            "Give a first frame of the tracking video's size.",
        )


def _size(pixels: np.ndarray) -> str:
    return f"{pixels.shape[1]}x{pixels.shape[0]}"


def _by_number(file: Path) -> list:
    """frame_9.png comes before frame_10.png."""
    return [(0, int(part), "") if part.isdigit() else (1, 0, part) for part in re.split(r"(\d+)", file.name) if part]
