"""The clip that a request takes from a picture, a video or a folder of images: chosen, resampled, cropped or padded."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image, UnidentifiedImageError

from ...shared.errors import UsageError
from ...shared.request import Fit
from ...shared.timeline import sample_frames
from ..images import ImageioImages
from .footage import Folder, Movie
from .window import Window

PICTURE_FPS = 8.0  # of a video made from a picture, as the model's own examples
ANIMATED = {"GIF", "PNG", "WEBP"}  # other formats of several pictures, such as a phone's MPO, are one picture


class Clip(msgspec.Struct, kw_only=True, frozen=True):
    """``frames`` u8 [S,H,W,3], S = 1 for a picture; ``start``, ``end`` and ``fps`` in the source's own frame numbers (from 1).

    ``numbers`` are the source frames that were taken, ``count`` how many it has; ``window`` is what of their pictures is
    shown; ``notes`` say in sentences what was done.
    """

    frames: np.ndarray
    start: float
    end: float
    fps: float
    numbers: tuple[int, ...]
    count: int
    window: Window
    notes: list[str]

    def sampled(self, array: np.ndarray, what: str = "The array") -> np.ndarray:
        """[S,...] of an array that has an entry for each source frame, or for each of the clip's already; or one for all."""
        if len(array) in (1, len(self.numbers)):
            return array
        if len(array) == self.count:
            return array[np.array(self.numbers) - 1]
        raise UsageError(
            f"{what} has {len(array)} frames, the source has {self.count}.",
            f"Give {self.count}, or {len(self.numbers)} that are resampled already, or one.",
        )


def read_clip(
    file: Path,
    *,
    count: int,
    size: tuple[int, int],
    fit: Fit = "crop",
    frames: tuple[float, float] | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Clip:
    """``count`` frames, evenly spread over frames A to B (all, where None), each the nearest of the source's; or one picture.

    UsageError where the file is missing or cannot be read, has one frame only, or lacks the wanted ones.
    """
    file = Path(file)
    if not file.exists():
        raise UsageError(f"There is no file {file}.", "Check the path.")
    if file.is_file() and _is_picture(file):
        return _read_picture(file, count, size, fit, frames)
    footage = Folder(file) if file.is_dir() else Movie(file)
    try:
        return _read_footage(footage, count, size, fit, frames, progress)
    finally:
        footage.close()


def _read_picture(file: Path, count: int, size: tuple[int, int], fit: Fit, frames: tuple[float, float] | None) -> Clip:
    if frames is not None:
        raise UsageError(f"{file} is a picture and has no frames {frames[0]:g}:{frames[1]:g}.", "Leave --frames away, or give a video.")
    picture = ImageioImages().read(file)
    window = Window(picture.shape[1::-1], size, fit)
    return Clip(
        frames=window.picture(picture)[None],
        start=1.0,
        end=float(count),
        fps=PICTURE_FPS,
        numbers=(1,),
        count=1,
        window=window,
        notes=[note for note in [window.note(file.name)] if note],
    )


def _read_footage(footage, count, size, fit, frames, progress) -> Clip:
    start, end = _range(footage, frames)
    numbers = tuple(int(number) for number in np.rint(sample_frames(start, end, count)))
    window = Window(footage.size, size, fit)
    pictures = np.empty((count, size[1], size[0], 3), np.uint8)
    for index, picture in enumerate(footage.pictures(numbers)):
        pictures[index] = window.picture(picture)
        progress(index + 1, count)
    notes = [*footage.notes, _resampling(footage, start, end, count), window.note(footage.name)]
    return Clip(
        frames=pictures,
        start=start,
        end=end,
        fps=footage.fps,
        numbers=numbers,
        count=footage.count,
        window=window,
        notes=[note for note in notes if note],
    )


def _range(footage: Folder | Movie, frames: tuple[float, float] | None) -> tuple[float, float]:
    if footage.count < 2:
        raise UsageError(f"{footage.name} has one frame only.", "Give a longer video, or the frame as a picture.")
    start, end = frames or (1.0, float(footage.count))
    if not 1 <= start < end <= footage.count:
        raise UsageError(
            f"{footage.name} has the frames 1:{footage.count}, not {start:g}:{end:g}.", f"Choose a range in 1:{footage.count} with --frames."
        )
    return start, end


def _resampling(footage: Folder | Movie, start: float, end: float, count: int) -> str:
    """How many frames became how many, where that is not each its own."""
    span = end - start + 1
    if span == count:
        return ""
    seconds = f"{span / footage.fps:.1f} s at {footage.fps:.4g} frames a second"
    how = "some are shown twice" if span < count else f"about one in {span / count:.1f} is used"
    return f"The frames {start:g}:{end:g} of {footage.name} ({seconds}) become {count}: {how}, and its speed stays."


def _is_picture(file: Path) -> bool:
    try:
        with Image.open(file) as opened:
            return opened.format not in ANIMATED or getattr(opened, "n_frames", 1) == 1
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError):
        return False
