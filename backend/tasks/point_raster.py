"""The point rasteriser: each point is a small rectangle of pixels, and of those that overlap the nearest is seen.

Nothing is sorted and no rectangle is drawn. A point's depth and its number become one key, greater for nearer and then
for later points; each pixel keeps the greatest key of the points that fall into it; a rectangle's reach is a maximum
over the neighbourhood; and the pixel takes what the point of its key has. The pixels are those of a painter's loop from
far to near, at a cost that hardly depends on the rectangles' size.
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
    device: str | None = None,
) -> Drawn:
    """Points at pixels ``xy`` f64 [N,2] and camera depths ``z`` [N] in a picture of ``size`` (width, height).

    A point colours the ``square`` (across, down; odd) of pixels around floor(x), floor(y), also where that pixel itself
    is off the picture. Depths compare in single precision, and of equally near points the later wins. Points at or
    behind the camera, and those that are no numbers, are not drawn. ``colours`` [N,C] are u8 or f32. ``device`` is one
    of torch's; without it NumPy and OpenCV draw.
    """
    if square[0] % 2 == 0 or square[1] % 2 == 0:
        raise ValueError(f"A square of {square[0]}x{square[1]} pixels has no middle.")
    nearest = _nearest_with_numpy if device is None else _nearest_with_torch
    point = nearest(np.asarray(xy, np.float64), np.asarray(z, np.float32), size, square, device)
    valid = point >= 0
    if not valid.any():
        empty = np.zeros((*valid.shape, colours.shape[1]), colours.dtype)
        return Drawn(empty, valid, np.full(valid.shape, np.inf, np.float32))
    picture, depth = np.take(colours, point, axis=0, mode="wrap"), np.take(z, point, mode="wrap").astype(np.float32)
    picture[~valid], depth[~valid] = 0, np.inf
    return Drawn(picture, valid, depth)


def _nearest_with_numpy(xy: np.ndarray, z: np.ndarray, size: tuple[int, int], square: tuple[int, int], device: None) -> np.ndarray:
    """i64 [H,W]: the number of the point that each pixel shows, -1 where there is none."""
    (width, height), (across, down) = size, square
    left, top = across // 2, down // 2  # a margin for points off the picture whose squares reach into it
    wide, high = width + 2 * left, height + 2 * top
    column, row = np.floor(xy[:, 0]) + left, np.floor(xy[:, 1]) + top
    with np.errstate(invalid="ignore"):
        seen = np.flatnonzero((z > 0) & (z < np.inf) & (column >= 0) & (column < wide) & (row >= 0) & (row < high))
    pixel = (row[seen] * wide + column[seen]).astype(np.intp)
    keys = (INFINITE - z[seen].view(np.int32).astype(np.int64)) << 32 | seen
    greatest = np.zeros(high * wide)
    np.maximum.at(greatest, pixel, keys.view(np.float64))  # positive doubles are in the order of their bits
    reached = cv2.dilate(greatest.reshape(high, wide), np.ones((down, across), np.uint8))
    key = np.ascontiguousarray(reached[top : top + height, left : left + width]).view(np.int64)
    return np.where(key > 0, key & 0xFFFFFFFF, -1)


def _nearest_with_torch(xy: np.ndarray, z: np.ndarray, size: tuple[int, int], square: tuple[int, int], device: str) -> np.ndarray:
    """The same by torch on a device."""
    import torch

    (width, height), (across, down) = size, square
    wide, high = width + across - 1, height + down - 1
    places, z = torch.from_numpy(xy).to(device), torch.from_numpy(np.ascontiguousarray(z)).to(device)
    column, row = places[:, 0].floor() + across // 2, places[:, 1].floor() + down // 2
    seen = ((z > 0) & (z < torch.inf) & (column >= 0) & (column < wide) & (row >= 0) & (row < high)).nonzero()[:, 0]
    pixel = (row[seen] * wide + column[seen]).long()
    keys = (INFINITE - z[seen].view(torch.int32).long()) << 32 | seen
    greatest = torch.zeros(high * wide, dtype=torch.float64, device=device)
    greatest.scatter_reduce_(0, pixel, keys.view(torch.float64), "amax")
    reached = torch.nn.functional.max_pool2d(greatest.view(1, 1, high, wide), (down, across), stride=1)
    key = reached[0, 0].view(torch.int64)
    return torch.where(key > 0, key & 0xFFFFFFFF, -1).cpu().numpy()
