"""The reference rasteriser: triangles to a z-buffer in plain numpy, the oracle for every faster one.

A pixel belongs to a triangle where its centre lies inside; attributes are interpolated perspective-correctly
(Heckbert & Moreton 1991: interpolate a/z and 1/z, then divide); triangles are clipped at the near plane.
"""

from __future__ import annotations

import msgspec
import numpy as np

from .camera import Camera


class Raster(msgspec.Struct):
    """depth f32 [H,W] (camera z, inf where nothing is), triangle i32 [H,W] (index into the input, -1 where
    nothing is), attributes f32 [H,W,C] (0 where nothing is)."""

    depth: np.ndarray
    triangle: np.ndarray
    attributes: np.ndarray


FRAGMENTS_AT_ONCE = 1 << 20


def rasterize(positions: np.ndarray, triangles: np.ndarray, attributes: np.ndarray, camera: Camera) -> Raster:
    """World positions [V,3], triangles int [M,3], attributes [V,C] to a Raster of the camera's window."""
    window = camera.intrinsics
    corners = (positions @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3])[triangles]
    corners, carried, source = _clip_near(corners, attributes.astype(np.float64)[triangles], camera.near)
    raster = Raster(
        np.full((window.height, window.width), np.inf, np.float32),
        np.full((window.height, window.width), -1, np.int32),
        np.zeros((window.height, window.width, attributes.shape[1]), np.float32),
    )
    inverse = 1.0 / corners[..., 2]
    screen = corners[..., :2] * inverse[..., None] * (window.fx, window.fy) + (window.cx, window.cy)
    low = np.ceil(screen.min(axis=1) - 0.5).clip(0, (window.width, window.height)).astype(int)
    high = np.floor(screen.max(axis=1) - 0.5).clip(-1, (window.width - 1, window.height - 1)).astype(int)
    boxes = (high - low + 1).clip(0)
    for chosen in _batches(boxes.prod(axis=1)):
        _draw(raster, screen[chosen], inverse[chosen], carried[chosen], source[chosen], low[chosen], boxes[chosen])
    return raster


def _batches(counts: np.ndarray):
    """Indices of triangles that cover any pixel, in batches of about FRAGMENTS_AT_ONCE candidate pixels."""
    covering = np.flatnonzero(counts)
    batch = np.cumsum(counts[covering]) // FRAGMENTS_AT_ONCE
    return np.split(covering, np.flatnonzero(np.diff(batch)) + 1) if len(covering) else []


def _draw(raster: Raster, screen, inverse, carried, source, low, boxes) -> None:
    """All pixels of all bounding boxes at once; of those inside a triangle the nearest stays."""
    counts = boxes.prod(axis=1)
    owner = np.repeat(np.arange(len(counts)), counts)
    nth = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
    row, column = np.divmod(nth, boxes[owner, 0])
    column, row = column + low[owner, 0], row + low[owner, 1]
    weights = _barycentric(screen, owner, column + 0.5, row + 0.5)
    inside = (weights >= 0).all(axis=0)
    owner, row, column, weights = owner[inside], row[inside], column[inside], weights[:, inside]
    depth = 1.0 / np.einsum("kn,nk->n", weights, inverse[owner])
    pixel = row * raster.depth.shape[1] + column
    order = np.lexsort((depth, pixel))
    nearest = order[np.flatnonzero(np.diff(pixel[order], prepend=-1))]
    nearest = nearest[depth[nearest] < raster.depth.reshape(-1)[pixel[nearest]]]
    pixel, owner, depth = pixel[nearest], owner[nearest], depth[nearest]
    share = weights[:, nearest] * inverse[owner].T * depth
    raster.depth.reshape(-1)[pixel] = depth
    raster.triangle.reshape(-1)[pixel] = source[owner]
    raster.attributes.reshape(len(raster.attributes) * raster.attributes.shape[1], -1)[pixel] = np.einsum(
        "kn,nkc->nc", share, carried[owner]
    )


def _barycentric(screen: np.ndarray, owner: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Weights [3,N] of pixel centres in their triangles; NaN, so never inside, where a triangle has no area."""
    corner = screen[owner]
    twice = _edge(screen[:, 0], screen[:, 1], screen[:, 2, 0], screen[:, 2, 1])
    area = np.where(np.abs(twice) < 1e-12, np.nan, twice)[owner]
    pairs = ((1, 2), (2, 0), (0, 1))
    return np.stack([_edge(corner[:, a], corner[:, b], x, y) / area for a, b in pairs])


def _edge(a, b, x, y):
    return (b[:, 0] - a[:, 0]) * (y - a[:, 1]) - (b[:, 1] - a[:, 1]) * (x - a[:, 0])


def _clip_near(corners: np.ndarray, carried: np.ndarray, near: float):
    """Triangles [M,3,3] in camera space cut at z = near: corners, attributes, and each piece's source index."""
    inside = corners[..., 2] >= near
    count = inside.sum(axis=1)
    pieces = [(corners[count == 3], carried[count == 3], np.flatnonzero(count == 3))]
    both = np.concatenate([corners, carried], axis=-1)
    for index in np.flatnonzero((count == 1) | (count == 2)):
        polygon = _cut(both[index], near)
        fan = np.stack([polygon[[0, k, k + 1]] for k in range(1, len(polygon) - 1)])
        pieces.append((fan[..., :3], fan[..., 3:], np.full(len(fan), index)))
    return tuple(np.concatenate(parts) for parts in zip(*pieces))


def _cut(triangle: np.ndarray, near: float) -> np.ndarray:
    """Sutherland-Hodgman against one plane."""
    kept = []
    for here, there in zip(triangle, np.roll(triangle, -1, axis=0)):
        if here[2] >= near:
            kept.append(here)
        if (here[2] >= near) != (there[2] >= near):
            kept.append(here + (there - here) * ((near - here[2]) / (there[2] - here[2])))
    return np.array(kept)
