"""Points fixed to the surface: which triangle a pixel position shows, where in it, and where that is in other frames."""

from __future__ import annotations

import msgspec
import numpy as np

from ...shared.camera import Camera, in_view
from .draw import Drawer
from .frames import GeometryFrame, Key

SPLIT = 4096  # triangle numbers are drawn as two floats, each exact after interpolation
AROUND = np.array([(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (1, -1), (-1, 1), (-1, -1)])
EDGE = -1e-6  # shares of a point that rounding has put beside its triangle


class Anchors(msgspec.Struct):
    """Points that share a query frame: each in a triangle of an instance."""

    parts: list[tuple[Key, int]]  # key and topology
    part: np.ndarray  # i64 [N], index into ``parts``; -1 where there is no surface
    corners: np.ndarray  # i64 [N,3], vertices counted from the part's first
    shares: np.ndarray  # f64 [N,3] of the corners, which sum to 1
    objects: np.ndarray  # u16 [N], 0 where there is no surface

    def corner_positions(self, frame: GeometryFrame) -> np.ndarray:
        """f64 [N,3,3]: where each point's corners are in ``frame``, world; NaN where its surface is not there."""
        starts = {(part.key, part.topology): part.start for part in frame.parts}
        start = np.array([*(starts.get(part, -1) for part in self.parts), -1])[self.part]
        known = start >= 0
        positions = np.full((len(start), 3, 3), np.nan)
        positions[known] = frame.positions[start[known, None] + self.corners[known]]
        return positions


def anchor(frame: GeometryFrame, pixels: np.ndarray, drawer: Drawer) -> Anchors:
    """Fix pixel positions f64 [N,2] (x, y) to the surface that ``frame`` shows there.

    The exact ray is cut with the triangles that the pixel and its neighbours show, and the nearest is taken; where
    it misses them all, the nearest place of the pixel's own triangle.
    """
    window, count = frame.camera.intrinsics, len(pixels)
    if not len(frame.triangles):
        return Anchors([], np.full(count, -1), np.zeros((count, 3), int), np.zeros((count, 3)), np.zeros(count, np.uint16))
    seen = seen_triangles(frame, drawer)
    cells = np.floor(pixels).astype(int)[:, None, ::-1] + AROUND
    rows, columns = cells[..., 0].clip(0, window.height - 1), cells[..., 1].clip(0, window.width - 1)
    candidates = seen[rows, columns]  # [N,9]
    corners = in_camera(frame.positions[frame.triangles[candidates.clip(0)]], frame.camera)
    shares, depth = cut(rays(pixels, frame.camera)[:, None], corners)
    hit = (candidates >= 0) & (shares >= EDGE).all(axis=-1) & (depth >= frame.camera.near)
    nearest = np.where(hit, depth, np.inf).argmin(axis=1)  # 0, the pixel's own, where nothing is hit
    chosen = (np.arange(count), nearest)
    triangle = np.where(in_view(*pixels.T, frame.camera), candidates[chosen], -1)
    return _anchors(frame, triangle, _within(shares[chosen]))


def seen_triangles(frame: GeometryFrame, drawer: Drawer) -> np.ndarray:
    """i64 [H,W]: the number of the triangle that each pixel centre shows, -1 where nothing is."""
    count = len(frame.triangles)
    number = np.arange(count).repeat(3)
    drawn = drawer.draw(
        msgspec.structs.replace(
            frame,
            positions=frame.positions[frame.triangles].reshape(-1, 3),
            triangles=np.arange(3 * count, dtype=np.int32).reshape(-1, 3),
            rest=np.stack([number % SPLIT, number // SPLIT, 0 * number], axis=1).astype(np.float32),
            tracked=np.ones(3 * count, bool),
            objects=np.ones(3 * count, np.uint16),
            parts=[],
        )
    )
    low, high = np.rint(drawn.rest[..., 0]).astype(int), np.rint(drawn.rest[..., 1]).astype(int)
    return np.where(drawn.tracked & (drawn.depth <= frame.camera.far), low + SPLIT * high, -1)


def rays(pixels: np.ndarray, camera: Camera) -> np.ndarray:
    """Camera-space directions f64 [...,3], z = 1, through pixels [...,2] (x, y)."""
    window = camera.intrinsics
    x, y = (pixels[..., 0] - window.cx) / window.fx, (pixels[..., 1] - window.cy) / window.fy
    return np.stack([x, y, np.ones_like(x)], axis=-1)


def in_camera(points: np.ndarray, camera: Camera) -> np.ndarray:
    """World points [...,3] in camera space, f64."""
    return points.astype(np.float64) @ camera.world_to_camera[:3, :3].T + camera.world_to_camera[:3, 3]


def cut(directions: np.ndarray, corners: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Where rays [...,3] from the camera meet the planes of triangles [...,3,3]: shares of the corners [...,3], and
    camera z [...]. Not finite where a plane holds the camera or is parallel to the ray.

    z d = sum w_i v_i with sum w_i = 1 is solved by Cramer's rule.
    """
    first, second, third = np.moveaxis(corners, -2, 0)
    normals = np.stack([np.cross(second, third), np.cross(third, first), np.cross(first, second)], axis=-2)
    unscaled = np.einsum("...ik,...k->...i", normals, directions)
    volume = np.einsum("...k,...k->...", normals[..., 0, :], first)
    with np.errstate(divide="ignore", invalid="ignore"):
        total = unscaled.sum(axis=-1)
        return unscaled / total[..., None], volume / total


def _within(shares: np.ndarray) -> np.ndarray:
    """Shares moved into the triangle where they lie beside it; its middle where it has no area."""
    inside = np.where(np.isfinite(shares).all(axis=1, keepdims=True), shares, 1.0).clip(0)
    return inside / inside.sum(axis=1, keepdims=True)


def _anchors(frame: GeometryFrame, triangle: np.ndarray, shares: np.ndarray) -> Anchors:
    corners = frame.triangles[triangle].astype(np.int64)
    starts = np.array([part.start for part in frame.parts])
    part = np.searchsorted(starts, corners[:, 0], side="right") - 1
    return Anchors(
        parts=[(each.key, each.topology) for each in frame.parts],
        part=np.where(triangle >= 0, part, -1),
        corners=corners - starts[part][:, None],
        shares=shares,
        objects=np.where(triangle >= 0, frame.objects[corners[:, 0]], 0).astype(np.uint16),
    )
