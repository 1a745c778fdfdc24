"""The tracking video's colour code: where each surface point was in the first frame.

R = x / W, G = y / H, B = inverse Euclidean distance to the first camera, scaled so that its 2nd and 98th
percentile become 0 and 1 (Diffusion as Shader, arXiv 2501.03847, section 3.2). Colours are computed per pixel
from the interpolated first-frame position ("rest"), in float until :func:`quantise`.
"""

from __future__ import annotations

import msgspec
import numpy as np

from .camera import Camera, from_camera, in_view, project

LOW_PERCENTILE, HIGH_PERCENTILE = 2.0, 98.0
BACKGROUND_DISTANCE = 1e6  # scene units; any will do, a background point is seen from the first camera only


class DepthScale(msgspec.Struct, frozen=True):
    """The inverse distances that become blue 0 and 1."""

    low: float
    high: float


class Coverage(msgspec.Struct, frozen=True):
    """Shares of all pixels of a frame: surface drawn, coloured, and surface left black (off screen at first)."""

    surface: float
    coloured: float
    black: float


def inverse_distance(rest: np.ndarray, first_camera: Camera) -> np.ndarray:
    """1 / Euclidean distance of first-frame positions [N,3] to the first camera, [N]."""
    return _inverse_length(from_camera(rest, first_camera)[0])


def _inverse_length(offsets: np.ndarray) -> np.ndarray:
    return 1 / np.sqrt(np.maximum(np.square(offsets).sum(axis=0), offsets.dtype.type(1e-18)))


def depth_scale(rest: np.ndarray, first_camera: Camera) -> DepthScale:
    """The scale from the first frame's visible surface points, or all vertices: [N,3], N > 0."""
    low, high = np.percentile(inverse_distance(rest, first_camera), (LOW_PERCENTILE, HIGH_PERCENTILE))
    return DepthScale(float(low), float(max(high, low + 1e-9)))


def colour(rest: np.ndarray, first_camera: Camera, scale: DepthScale) -> np.ndarray:
    """First-frame positions [...,3] (world) to colours f32 [...,3] in [0, 1].

    Black where the point was off screen or behind the camera in the first frame.
    """
    window = first_camera.intrinsics
    offsets, (across, down, depth) = from_camera(rest.reshape(-1, 3), first_camera)
    front = depth > 1e-12
    inverse = 1 / np.where(front, depth, 1)
    across, down = across * inverse, down * inverse
    colours = np.empty((3, len(depth)), np.float32)
    colours[0] = across / window.width
    colours[1] = down / window.height
    colours[2] = np.clip((_inverse_length(offsets) - scale.low) / (scale.high - scale.low), 0, 1)
    colours *= front & in_view(across, down, first_camera)
    return np.ascontiguousarray(colours.T).reshape(rest.shape)


def first_frame_pixels(colours: np.ndarray, width: int, height: int) -> np.ndarray:
    """Colours [...,3] in [0, 1] (or u8) back to first-frame pixels f32 [...,2]; u8 is exact to W/255 pixels."""
    unit = colours[..., :2].astype(np.float32) / (255 if colours.dtype == np.uint8 else 1)
    return unit * np.array([width, height], dtype=np.float32)


def quantise(colours: np.ndarray) -> np.ndarray:
    """Floats in [0, 1] to u8: round(255 v)."""
    return np.rint(np.asarray(colours) * 255).astype(np.uint8)


def tracking_frame(rest: np.ndarray, valid: np.ndarray, first_camera: Camera, scale: DepthScale) -> np.ndarray:
    """One tracking video frame u8 [H,W,3] from rest [H,W,3] and valid bool [H,W]; black elsewhere."""
    frame = np.zeros((*valid.shape, 3), dtype=np.uint8)
    surface = np.flatnonzero(valid)  # numpy indexes far faster by numbers than by a mask
    frame.reshape(-1, 3)[surface] = quantise(colour(rest.reshape(-1, 3)[surface], first_camera, scale))
    return frame


def background_rest(pixels: np.ndarray, camera: Camera, first_camera: Camera) -> np.ndarray:
    """Where ``camera``'s background pixels (bool [H,W]) were seen in the first frame, f32 [N,3]: points in their
    direction around the first camera's position, so that only rotation moves them, as it moves what is infinitely far.
    """
    rows, columns = np.nonzero(pixels)
    window = camera.intrinsics
    rays = np.stack(
        [(columns + 0.5 - window.cx) / window.fx, (rows + 0.5 - window.cy) / window.fy, np.ones(len(rows))], axis=1
    )
    directions = rays @ camera.world_to_camera[:3, :3]
    directions *= BACKGROUND_DISTANCE / np.linalg.norm(directions, axis=1, keepdims=True)
    return (first_camera.centre + directions).astype(np.float32)


def background_colour(rest: np.ndarray, first_camera: Camera) -> np.ndarray:
    """Colours f32 [N,3] of :func:`background_rest`: as :func:`colour`, and so far that blue is 0."""
    return colour(rest, first_camera, DepthScale(0.0, 1.0))


def hidden_in_first_frame(
    rest: np.ndarray, first_depth: np.ndarray, first_camera: Camera, tolerance: float = 0.01
) -> np.ndarray:
    """bool [N]: another surface stood before this first-frame position [N,3] in the first frame.

    ``first_depth`` f32 [H,W] is the first frame's camera z (inf where nothing is). A point is hidden when it
    lies deeper than all of the four pixels around its projection by ``tolerance`` of its depth; points off
    screen are not hidden.
    """
    height, width = first_depth.shape
    pixels, depth = project(rest, first_camera)
    left, top = np.floor(pixels[..., 0] - 0.5), np.floor(pixels[..., 1] - 0.5)
    on_screen = (depth > 0) & (left >= -1) & (left < width) & (top >= -1) & (top < height)
    deepest = np.zeros(depth.shape)
    for right_step in (0, 1):
        for down_step in (0, 1):
            column = np.clip(left + right_step, 0, width - 1).astype(np.intp)
            row = np.clip(top + down_step, 0, height - 1).astype(np.intp)
            np.maximum(deepest, first_depth[row, column], out=deepest)
    return on_screen & (depth > deepest * (1 + tolerance))


def coverage(tracking: np.ndarray, valid: np.ndarray) -> Coverage:
    """Statistics of one tracking frame u8 [H,W,3] with its valid mask bool [H,W]."""
    coloured = float((tracking.any(axis=-1) & valid).mean())
    surface = float(valid.mean())
    return Coverage(surface, coloured, surface - coloured)
