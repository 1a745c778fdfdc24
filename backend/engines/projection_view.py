"""What each frame shows, in terms of the first frame: from geometry where it is at hand, else from the colours."""

from __future__ import annotations

import cv2
import msgspec
import numpy as np

from ...shared import psnr
from ...shared.camera import Camera, Intrinsics, project
from ...shared.tracking import first_frame_pixels

GEOMETRY = ("valid", "rest", "K", "world_to_camera")
# A video codec leaves black a few levels off; surface this dark lies in the first frame's far upper left corner.
DARKEST = 8


class View(msgspec.Struct):
    """One frame, each [H,W].

    label      i32, which object is here; 0 for background
    located    bool, where this point was in the first frame is known: the next three hold
    pixels     f32 [H,W,2], where it was, in first-frame pixels
    nearness   f32, its inverse depth there (or the colour code's blue)
    grain      f32, the difference of nearness that means nothing
    positions  f32 [H,W,3], for nearness in space; first-frame positions where located
    """

    label: np.ndarray
    located: np.ndarray
    pixels: np.ndarray
    nearness: np.ndarray
    grain: np.ndarray
    positions: np.ndarray

    @property
    def background(self) -> np.ndarray:
        return self.label == 0


class GeometryViews:
    """From first-frame positions and cameras; objects and depth where they are there."""

    def __init__(self, signals: dict[str, np.ndarray]):
        self.signals = signals
        self.used = [name for name in (*GEOMETRY, "object", "depth") if name in signals]
        self.shape = signals["valid"].shape[1:]
        self.first = self.camera(0)

    def camera(self, index: int) -> Camera:
        K, (height, width) = self.signals["K"][index], self.shape
        window = Intrinsics(width, height, K[0, 0], K[1, 1], K[0, 2], K[1, 2])
        return Camera(window, self.signals["world_to_camera"][index])

    def view(self, index: int) -> View:
        valid = self.signals["valid"][index]
        positions = self.signals["rest"][index].astype(np.float32)
        label, lost = valid.astype(np.int32), np.zeros_like(valid)
        if "object" in self.signals:
            label = np.where(valid, self.signals["object"][index].astype(np.int32) + 1, 0)
        if "depth" in self.signals:
            lost = ~valid & np.isfinite(self.signals["depth"][index])
            label, positions = self._without_identity(index, lost, label, positions)
        return self._locate(valid, label, positions)

    def directions(self, index: int) -> np.ndarray:
        """f32 [H,W,2]: where in the first frame lies the background seen here, taken as infinitely far."""
        return psnr.first_frame_direction(self.shape, self.camera(index), self.first)

    def _locate(self, valid: np.ndarray, label: np.ndarray, positions: np.ndarray) -> View:
        pixels = np.full((*valid.shape, 2), np.nan, np.float32)
        nearness = np.zeros(valid.shape, np.float32)
        seen, depth = project(positions[valid], self.first)
        in_front = depth > 1e-6
        pixels[valid] = np.where(in_front[:, None], seen, np.nan)
        nearness[valid] = 1 / np.where(in_front, depth, np.inf)
        # Two pixels' width at that depth: in inverse depth, 2 (z / f) / z^2.
        grain = nearness * np.float32(2 / self.first.intrinsics.fx)
        return View(label, valid & (nearness > 0), pixels, nearness, grain, positions)

    def _without_identity(self, index: int, lost: np.ndarray, label: np.ndarray, positions: np.ndarray):
        """Surface that the first frame does not know is taken for what was near its present place."""
        if not lost.any():
            return label, positions
        camera, depth = self.camera(index), self.signals["depth"][index][lost]
        rows, columns = np.nonzero(lost)
        rays = np.stack([columns + 0.5, rows + 0.5, np.ones(len(rows))], axis=-1) @ np.linalg.inv(camera.intrinsics.matrix).T
        seen = rays * depth[:, None] - camera.world_to_camera[:3, 3]
        positions, label = positions.copy(), label.copy()
        positions[lost] = seen @ camera.world_to_camera[:3, :3]
        label[lost] = self.signals["object"][index][lost].astype(np.int32) + 1 if "object" in self.signals else 1
        return label, positions


class ColourViews:
    """From the tracking video's 8-bit colours alone. The background is taken to stay where it was."""

    def __init__(self, signals: dict[str, np.ndarray]):
        self.tracking = signals["tracking"]
        self.valid = signals.get("valid")
        self.used = ["valid"] if "valid" in signals else []
        self.shape = self.tracking.shape[1:3]

    def view(self, index: int) -> View:
        surface = self.tracking[index].max(axis=-1) > DARKEST
        if self.valid is not None:
            surface &= self.valid[index]
        height, width = self.shape
        code = smooth_code(self.tracking[index])
        pixels = _still(self.shape) if index == 0 else first_frame_pixels(code / np.float32(255), width, height)
        nearness = code[..., 2] / np.float32(255)
        grain = np.full(self.shape, 3 / 255, np.float32)
        positions = np.concatenate([pixels, nearness[..., None] * np.float32(width)], axis=-1)
        return View(surface.astype(np.int32), surface, pixels, nearness, grain, positions)

    def directions(self, index: int) -> np.ndarray:
        return _still(self.shape)


def _still(shape: tuple[int, int]) -> np.ndarray:
    rows, columns = np.indices(shape, dtype=np.float32)
    return np.stack([columns + 0.5, rows + 0.5], axis=-1)


def smooth_code(frame: np.ndarray, reach: int = 4) -> np.ndarray:
    """8-bit colours [H,W,3] to f32 with the steps of rounding taken out, at most half a level away.

    A level of red is several pixels wide. Each colour becomes the mean of the symmetric pairs around it that
    lie on one ramp with it, which leaves ramps as they are and does not reach across an edge.
    """
    original = frame.astype(np.float32)
    smooth = original
    for axis in (1, 0):
        total, count = smooth.copy(), np.ones((*frame.shape[:2], 1), np.float32)
        for step in range(1, reach + 1):
            before, after = _shifted(smooth, step, axis), _shifted(smooth, -step, axis)
            ramp = (np.abs(before + after - 2 * smooth) <= 2).all(axis=-1, keepdims=True)
            total += np.where(ramp, before + after, 0)
            count += 2 * ramp
        smooth = total / count
    return np.clip(smooth, original - 0.5, original + 0.5)


def _shifted(picture: np.ndarray, step: int, axis: int) -> np.ndarray:
    """Moved by ``step`` pixels; what comes in is far off any colour."""
    matrix = np.float32([[1, 0, step if axis == 1 else 0], [0, 1, step if axis == 0 else 0]])
    size = (picture.shape[1], picture.shape[0])
    return cv2.warpAffine(picture, matrix, size, flags=cv2.INTER_NEAREST, borderValue=(1e4, 1e4, 1e4))
