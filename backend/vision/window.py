"""The part of a picture that a request shows: cropped or padded to its size, never stretched, and the same for
whatever lies over the picture: depth, masks, points, intrinsics.
"""

from __future__ import annotations

from typing import Literal

import msgspec
import numpy as np
from PIL import Image

from ...shared.errors import UsageError
from ...shared.request import Fit

Look = Literal["colour", "values"]
SAMPLING = {"colour": Image.Resampling.LANCZOS, "values": Image.Resampling.NEAREST}
ASPECT_TOLERANCE = 0.01  # two pixels of 200: what rounding a small file's sides may cost


class Window(msgspec.Struct, frozen=True):
    """A window of ``size`` onto pictures of ``source`` size, both (width, height) of square pixels.

    ``crop`` takes the largest centred part of the source that has the window's aspect; ``pad`` the whole source with
    black margins. Pixel i covers [i, i+1).
    """

    source: tuple[int, int]
    size: tuple[int, int]
    fit: Fit = "crop"

    @property
    def scale(self) -> float:
        """Window pixels a source pixel."""
        ratios = [wanted / given for wanted, given in zip(self.size, self.source)]
        return max(ratios) if self.fit == "crop" else min(ratios)

    @property
    def matrix(self) -> np.ndarray:
        """f64 [3,3]: source pixels to window pixels, homogeneous; times source intrinsics, the window's intrinsics."""
        shift = [(wanted - given * self.scale) / 2 for wanted, given in zip(self.size, self.source)]
        return np.array([[self.scale, 0, shift[0]], [0, self.scale, shift[1]], [0, 0, 1.0]])

    @property
    def shown(self) -> tuple[int, int, int, int]:
        """(left, top, right, bottom) of the window's pixels that lie wholly in the source; the others stay black."""
        corners = []
        for axis in (0, 1):
            margin = max(0.0, (self.size[axis] - self.source[axis] * self.scale) / 2)
            corners.append((int(np.ceil(margin - 1e-6)), int(np.floor(self.size[axis] - margin + 1e-6))))
        (left, right), (top, bottom) = corners
        return left, top, right, bottom

    def picture(self, pixels: np.ndarray, look: Look = "colour", what: str = "The picture") -> np.ndarray:
        """[H,W] or [H,W,3] of a picture [h,w(,3)] of the source's aspect, in its own type; margins are 0.

        ``colour`` (u8) is filtered as it is made smaller, ``values`` (f32, u8, bool) are the nearest ones and never mixed.
        UsageError where the picture is of another aspect.
        """
        height, width = pixels.shape[:2]
        if abs(width * self.source[1] / (height * self.source[0]) - 1) > ASPECT_TOLERANCE:
            raise UsageError(
                f"{what} is {width}x{height} and does not fit over {self.source[0]}x{self.source[1]}.",
                "Give one of the same size, or at least of the same shape.",
            )
        left, top, right, bottom = self.shown
        return _place(pixels, self._box((width, height)), (left, top), (right - left, bottom - top), self.size, SAMPLING[look])

    def points(self, xy: np.ndarray) -> np.ndarray:
        """Window pixels f64 [...,2] of source pixels [...,2]."""
        return xy * self.scale + self.matrix[:2, 2]

    def _box(self, given: tuple[int, int]) -> tuple[float, float, float, float]:
        """What the shown pixels cover of a picture of the size ``given``."""
        corners = (np.array(self.shown).reshape(2, 2) - self.matrix[:2, 2]) / self.scale * (np.array(given) / self.source)
        return tuple(corners.clip(0, given).ravel())

    def note(self, name: str) -> str:
        """What the window does to the picture, in a sentence; empty where it only makes it larger or smaller."""
        left, top, right, bottom = self.shown
        width, height = self.source
        if self.fit == "pad" and (right - left, bottom - top) != self.size:
            return f"{name} is {width}x{height}; it is padded with black to {self.size[0]}x{self.size[1]}."
        seen = [round(wanted / self.scale) for wanted in self.size]
        if self.fit == "crop" and (seen[0] < width or seen[1] < height):
            return f"{name} is {width}x{height}; its middle {seen[0]}x{seen[1]} is used (--fit pad keeps all of it)."
        return ""


def _place(pixels, box, at, extent, size, sampling) -> np.ndarray:
    """``box`` of a picture, resized to ``extent``, at a place of a black picture of ``size``."""
    kind = pixels.dtype
    given = Image.fromarray(np.ascontiguousarray(pixels.astype(np.uint8) if kind == bool else pixels))
    resized = np.asarray(given.resize(extent, sampling, box=box))
    placed = np.zeros((size[1], size[0], *pixels.shape[2:]), kind)
    placed[at[1] : at[1] + extent[1], at[0] : at[0] + extent[0]] = resized
    return placed
