"""How near a result is to the truth, and in which pixels it could be."""

from __future__ import annotations

import numpy as np

from .camera import Camera, project
from .tracking import hidden_in_first_frame


def psnr(result: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> float:
    """Peak signal-to-noise ratio in dB of u8 [...,C] over a mask bool [...]: inf where equal, nan where empty."""
    return psnr_of_error(*squared_error(result, truth, mask))


def squared_error(result: np.ndarray, truth: np.ndarray, mask: np.ndarray | None = None) -> tuple[float, int]:
    """Sum of squared errors and the count of values, which add up over frames."""
    difference = result.astype(np.float32) - truth.astype(np.float32)
    chosen = difference if mask is None else difference[mask]
    return float(np.square(chosen, dtype=np.float64).sum()), chosen.size


def psnr_of_error(error: float, count: int) -> float:
    """dB of a sum of squared errors over ``count`` 8-bit values."""
    if not count:
        return float("nan")
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 * count / error))


def visible_in_first_frame(
    rest: np.ndarray, valid: np.ndarray, first_depth: np.ndarray, camera: Camera, first_camera: Camera
) -> np.ndarray:
    """bool [H,W]: what a frame's pixel shows could be seen in the first frame.

    ``rest`` f32 [H,W,3] and ``valid`` bool [H,W] of the frame, ``first_depth`` f32 [H,W] the first frame's
    camera z (inf where nothing is). Surface was visible where it was on screen and nothing stood before it;
    background, taken to be infinitely far, where its direction was on screen and no surface was there.
    """
    visible = _background_visible(valid.shape, first_depth, camera, first_camera)
    points = rest[valid]
    pixels, depth = project(points, first_camera)
    size = (first_camera.intrinsics.width, first_camera.intrinsics.height)
    on_screen = (depth > 0) & (pixels >= 0).all(axis=-1) & (pixels < size).all(axis=-1)
    visible[valid] = on_screen & ~hidden_in_first_frame(points, first_depth, first_camera)
    return visible


def first_frame_direction(shape: tuple[int, int], camera: Camera, first_camera: Camera) -> np.ndarray:
    """f32 [H,W,2]: where in the first frame lay what this camera sees infinitely far away; nan behind it."""
    rows, columns = np.indices(shape)
    pixels = np.stack([columns + 0.5, rows + 0.5, np.ones(shape)], axis=-1)
    turn = first_camera.world_to_camera[:3, :3] @ camera.world_to_camera[:3, :3].T
    seen = pixels @ (first_camera.intrinsics.matrix @ turn @ np.linalg.inv(camera.intrinsics.matrix)).T
    depth = np.where(seen[..., 2:] > 1e-9, seen[..., 2:], np.nan)
    return (seen[..., :2] / depth).astype(np.float32)


def _background_visible(shape, first_depth, camera: Camera, first_camera: Camera) -> np.ndarray:
    direction = first_frame_direction(shape, camera, first_camera)
    height, width = shape
    visible = (direction >= 0).all(axis=-1) & (direction < (width, height)).all(axis=-1)  # nan compares false
    column, row = direction[visible].astype(np.intp).T
    visible[visible] = ~np.isfinite(first_depth[row, column])
    return visible
