"""Points in space: out of a picture with depth, moved, coloured by the tracking video's code, and seen by a camera.

Positions are rows x, y, z, f64 [3,N]: numpy is several times slower on rows of three. Space is that of the first
frame's OpenCV camera ("world"), whose world_to_camera is the identity.
"""

from __future__ import annotations

import msgspec
import numpy as np

from ...shared import tracking
from ...shared.camera import Camera, Intrinsics

NO_DEPTH_BLUE = 0.5


class PointCloud(msgspec.Struct, kw_only=True):
    """Points and how they are drawn.

    positions  f64 [3,N], or [T,3,N] where they move by themselves
    shown      bool [T,N], None where every point always is
    colours    u8 [N,3]
    square     the pixels (across, down) of a point
    masked     bool [N], the points that an object's motion moves; None for no object
    """

    positions: np.ndarray
    colours: np.ndarray
    square: tuple[int, int]
    shown: np.ndarray | None = None
    masked: np.ndarray | None = None

    def seen(self, frame: int, K: np.ndarray, world_to_camera: np.ndarray, motion: np.ndarray | None = None):
        """The points of a frame by a camera: pixels f64 [N,2], camera z f64 [N], colours [N,3]."""
        positions = self.positions if self.positions.ndim == 2 else self.positions[frame]
        xy, z = project(positions, K, world_to_camera)
        if motion is not None and self.masked is not None:
            xy[self.masked], z[self.masked] = project(positions[:, self.masked], K, world_to_camera @ motion)
        if self.shown is None:
            return xy, z, self.colours
        shown = self.shown[frame]
        return xy[shown], z[shown], self.colours[shown]


def pixel_centres(size: tuple[int, int]) -> np.ndarray:
    """f64 [H*W,2] (x, y) of a picture of size (width, height), row by row."""
    rows, columns = np.indices(size[::-1], dtype=np.float64)
    return np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)


def known(depth: np.ndarray) -> np.ndarray:
    """bool: where depth is known."""
    return np.isfinite(depth) & (depth > 0)


def unproject(xy: np.ndarray, z: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Pixels [N,2] at camera depths [N] to positions f64 [3,N] in the camera's space."""
    rays = np.linalg.inv(K) @ np.stack([xy[:, 0], xy[:, 1], np.ones(len(xy))])
    return rays * np.asarray(z, np.float64)


def project(positions: np.ndarray, K: np.ndarray, world_to_camera: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions [3,N] to pixels f64 [N,2] (nan where z <= 0) and camera z f64 [N]."""
    across, down, z = moved(positions, K @ world_to_camera[:3])
    front = np.where(z > 0, z, np.nan)
    with np.errstate(over="ignore"):
        return np.stack([across / front, down / front], axis=1), z


def moved(positions: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """Positions [3,N] under a matrix [3,4] or [4,4]."""
    return matrix[:3, :3] @ positions + matrix[:3, 3:]


def colours(positions: np.ndarray, visible: np.ndarray, K: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The tracking video's colours u8 [N,3] of first-frame positions [3,N]: place, and distance to the camera by one
    pair of percentiles over the ``visible`` points (bool [N], at least one)."""
    camera = Camera(intrinsics(K, size), np.eye(4))
    rest = np.ascontiguousarray(positions.T)
    return tracking.quantise(tracking.colour(rest, camera, tracking.depth_scale(rest[visible], camera)))


def flat_colours(xy: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Colours u8 [N,3] of points whose depth nobody knows: their place [N,2], and blue in the middle; black off the picture."""
    place = xy / size
    inside = ((place >= 0) & (place < 1)).all(axis=1, keepdims=True)
    blue = np.full((len(xy), 1), NO_DEPTH_BLUE)
    return tracking.quantise(np.where(inside, np.concatenate([place, blue], axis=1), 0))


def intrinsics(K: np.ndarray, size: tuple[int, int]) -> Intrinsics:
    """A matrix [3,3] as :class:`Intrinsics` of a picture of size (width, height)."""
    return Intrinsics(*size, K[0, 0], K[1, 1], K[0, 2], K[1, 2])


def square_for(count: float, size: tuple[int, int], base: tuple[int, int] = (7, 5)) -> tuple[int, int]:
    """The square (across, down) of each of ``count`` points spread over a picture.

    ``base`` is that of 70x70 points on 720x480, where the reference program draws 7x5 pixels and so covers half of the
    picture. Other numbers and sizes cover about as much: the side grows with the distance between neighbours, and is odd.
    """
    share = np.asarray(base) / (720 / 70, 480 / 70)
    side = share * size / np.sqrt(count)
    across, down = (int(2 * np.rint((each - 1) / 2).clip(0) + 1) for each in side)
    return across, down


def sample(depth: np.ndarray, xy: np.ndarray) -> np.ndarray:
    """Depth [H,W] at pixels [N,2], f32 [N]; inf outside. The nearest pixel: a mean over an edge lies on no surface."""
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        inside = ((xy >= 0) & (xy < (width, height))).all(axis=1)
    column, row = np.where(inside[:, None], xy, 0).astype(np.intp).T
    return np.where(inside, depth[row, column], np.float32(np.inf))
