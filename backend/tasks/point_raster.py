"""The point rasteriser: each point is a small rectangle of pixels, and of those that overlap the nearest is seen.

Nothing is sorted and no rectangle is drawn. A point's depth and its number become one key, greater for nearer and then
for later points; each pixel keeps the greatest key of the points that fall into it; a rectangle's reach is a maximum
over the neighbourhood; and the pixel takes what the point of its key has. The pixels are those of a painter's loop from
far to near, at a cost that hardly depends on the rectangles' size.

Drawn so plainly, a surface's pixels show their nearest neighbours: all colours lie a pixel beside their place. So a point
may count as a little nearer in its own pixel (``own``), where it then is seen unless another surface covers it.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

INFINITE = 0x7F800000  # the bits of infinity in f32; those of lesser positive numbers are less, in the same order


class Drawn(NamedTuple):
    """picture [H,W,C] of the colours' type (0 where nothing is), valid bool [H,W], depth f32 [H,W] (inf where nothing is)."""

    picture: np.ndarray
    valid: np.ndarray
    depth: np.ndarray


def draw_points(
    xy: np.ndarray,
    z: np.ndarray,
    colours: np.ndarray,
    size: tuple[int, int],
    square: tuple[int, int] = (3, 3),
    *,
    own: float = 0.0,
    device: str | None = None,
) -> Drawn:
    """Points at pixels ``xy`` f64 [N,2] and camera depths ``z`` [N] in a picture of ``size`` (width, height).

    A point colours the ``square`` (across, down; odd) of pixels around floor(x), floor(y), also where that pixel itself
    is off the picture. Depths compare in single precision, and of equally near points the later wins. Points at or
    behind the camera, and those that are no numbers, are not drawn. ``own`` is the share by which a point counts as nearer
    in its own pixel. ``colours`` [N,C] are u8 or f32. ``device`` is one of torch's; without it NumPy and OpenCV draw.
    """
    if square[0] % 2 == 0 or square[1] % 2 == 0:
        raise ValueError(f"A square of {square[0]}x{square[1]} pixels has no middle.")
    nearest = _nearest_with_numpy if device is None else _nearest_with_torch
    point = nearest(np.asarray(xy, np.float64), np.asarray(z, np.float32), size, square, np.float32(1 - own), device)
    valid = point >= 0
    if not valid.any():
        empty = np.zeros((*valid.shape, colours.shape[1]), colours.dtype)
        return Drawn(empty, valid, np.full(valid.shape, np.inf, np.float32))
    picture, depth = np.take(colours, point, axis=0, mode="wrap"), np.take(z, point, mode="wrap").astype(np.float32)
    picture[~valid], depth[~valid] = 0, np.inf
    return Drawn(picture, valid, depth)


def _nearest_with_numpy(xy: np.ndarray, z: np.ndarray, size: tuple[int, int], square: tuple[int, int], own: np.float32, device: None):
    """i64 [H,W]: the number of the point that each pixel shows, -1 where there is none. ``own`` is a factor of z."""
    (width, height), (across, down) = size, square
    left, top = across // 2, down // 2  # a margin for points off the picture whose squares reach into it
    wide, high = width + 2 * left, height + 2 * top
    column, row = np.floor(xy[:, 0]) + left, np.floor(xy[:, 1]) + top
    with np.errstate(invalid="ignore"):
        seen = np.flatnonzero((z > 0) & (z < np.inf) & (column >= 0) & (column < wide) & (row >= 0) & (row < high))
    pixel = (row[seen] * wide + column[seen]).astype(np.intp)

    def greatest(z: np.ndarray) -> np.ndarray:
        keys = (INFINITE - z.view(np.int32).astype(np.int64)) << 32 | seen
        found = np.zeros(high * wide)
        np.maximum.at(found, pixel, keys.view(np.float64))  # positive doubles are in the order of their bits
        return found.reshape(high, wide)

    reached = cv2.dilate(greatest(z[seen]), np.ones((down, across), np.uint8))
    if own != 1:
        np.maximum(reached, greatest(z[seen] * own), out=reached)
    key = np.ascontiguousarray(reached[top : top + height, left : left + width]).view(np.int64)
    return np.where(key > 0, key & 0xFFFFFFFF, -1)


def _nearest_with_torch(xy: np.ndarray, z: np.ndarray, size: tuple[int, int], square: tuple[int, int], own: np.float32, device: str):
    """The same by torch on a device."""
    import torch

    (width, height), (across, down) = size, square
    left, top, wide, high = across // 2, down // 2, width + across - 1, height + down - 1
    places, z = torch.from_numpy(xy).to(device), torch.from_numpy(np.ascontiguousarray(z)).to(device)
    column, row = places[:, 0].floor() + left, places[:, 1].floor() + top
    seen = ((z > 0) & (z < torch.inf) & (column >= 0) & (column < wide) & (row >= 0) & (row < high)).nonzero()[:, 0]
    pixel = (row[seen] * wide + column[seen]).long()

    def greatest(z: torch.Tensor) -> torch.Tensor:
        keys = (INFINITE - z.view(torch.int32).long()) << 32 | seen
        found = torch.zeros(high * wide, dtype=torch.float64, device=device)
        return found.scatter_reduce_(0, pixel, keys.view(torch.float64), "amax").view(1, 1, high, wide)

    reached = torch.nn.functional.max_pool2d(greatest(z[seen]), (down, across), stride=1)[0, 0]
    if own != 1:
        mine = greatest(z[seen] * float(own))[0, 0, top : top + height, left : left + width]
        reached = torch.maximum(reached, mine)
    key = reached.contiguous().view(torch.int64)
    return torch.where(key > 0, key & 0xFFFFFFFF, -1).cpu().numpy()
