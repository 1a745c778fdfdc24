"""What of a picture moves: a mask from a file, or of what was clicked on (SAM 2)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import imageio.v3 as imageio
import numpy as np

from ...shared.errors import UsageError
from . import catalogue

HALF = 128  # of 255: from here on it counts
GREY = (8, 247)  # in between a mask is neither black nor white
FEW = 0.02


class Mask(NamedTuple):
    """pixels bool [H,W], True where it moves; notes, a sentence each."""

    pixels: np.ndarray
    notes: list[str]


def read_mask(file: str | Path, size: tuple[int, int] | None = None) -> Mask:
    """The mask in any picture: what is not transparent, or where nothing is transparent what is bright, moves.

    Both from one half on. ``size`` is the picture's that it belongs to, width and height. UsageError where the file is missing
    or no picture, of another size, or masks nothing.
    """
    file = Path(file).expanduser()
    if not file.is_file():
        raise UsageError(f"There is no mask {file}.", "Check the path.")
    try:
        with imageio.imopen(file, "r", plugin="pillow") as opened:
            grey = _grey(opened.read(index=0, rotate=True), opened.metadata(index=0)["mode"], opened)
    except (OSError, ValueError, SyntaxError) as error:
        raise UsageError(f"{file} cannot be read as a picture: {error}.", "Give a PNG whose white or opaque part moves.") from error
    return check_mask(grey >= HALF, str(file), size, _notes(grey, file))


def check_mask(pixels: np.ndarray, what: str, size: tuple[int, int] | None = None, notes: list[str] | None = None) -> Mask:
    """The mask bool [H,W], or UsageError where it is empty or not of ``size`` (width, height)."""
    height, width = pixels.shape
    if size and (width, height) != tuple(size):
        raise UsageError(f"{what} is {width}x{height} and the picture {size[0]}x{size[1]}.", "Give a mask of the picture's size.")
    if not pixels.any():
        raise UsageError(f"{what} is empty: no pixel of it is white or opaque.", "Paint white what should move.")
    full = [f"{what} covers the whole picture, so all of it moves."] if pixels.all() else []
    return Mask(pixels, [*(notes or []), *full])


def _grey(pixels: np.ndarray, mode: str, opened) -> np.ndarray:
    """f32 [H,W], 0 to 255: coverage where anything is transparent, else brightness."""
    if mode.startswith("I"):  # 16-bit grey
        return pixels.astype(np.float32) / 257
    pixels = opened.read(index=0, mode="RGBA", rotate=True).astype(np.float32)
    alpha = pixels[..., 3]
    return alpha if (alpha < 255).any() else pixels[..., :3].mean(axis=-1)


def _notes(grey: np.ndarray, file: Path) -> list[str]:
    between = ((grey > GREY[0]) & (grey < GREY[1])).mean()
    return [f"{100 * between:.0f} % of {file} is grey: what is at least half white moves."] if between > FEW else []


def mask_from_click(
    frame: np.ndarray,
    xy: tuple[float, float],
    *,
    source: str | Path = "",
    device: str = "auto",
    cancelled: Callable[[], bool] = lambda: False,
) -> Mask:
    """The mask of what lies at ``xy`` (pixels, from the upper left corner) of u8 [H,W,3], by SAM 2.

    ``source`` is a folder or hub id in place of the catalogue's. UsageError where the click is beside the picture, the
    model is not on this machine, or it finds nothing there; Cancelled once ``cancelled()``. The model is in memory only inside
    this call.
    """
    height, width = frame.shape[:2]
    if not (0 <= xy[0] < width and 0 <= xy[1] < height):
        raise UsageError(f"The click {xy[0]:g},{xy[1]:g} is not in the picture of {width}x{height}.", "Click on what should move.")
    catalogue.need_packages("sam2")
    place = catalogue.find("sam2", source)
    from .sam2 import segment

    pixels = segment(frame, xy, place, device, cancelled)
    if not pixels.any():
        raise UsageError(f"SAM 2 finds nothing at {xy[0]:g},{xy[1]:g}.", "Click elsewhere on the object, or give a mask file.")
    share = 100 * pixels.mean()
    return check_mask(pixels, "The mask of the click", None, [f"The click chose {share:.0f} % of the picture (SAM 2)."])
