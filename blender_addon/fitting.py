"""Pictures of any size into the request's window: cropped or padded, never stretched."""

from __future__ import annotations

import numpy as np

from ..shared.request import Fit


def fit_picture(picture: np.ndarray, width: int, height: int, fit: Fit) -> np.ndarray:
    """u8 [height,width,C] of u8 [H,W,C]: its largest centred part of that aspect (``crop``), or the whole of it with black
    margins (``pad``). One of that size comes back exactly.

    Resampled linearly, over as many pixels as become one where it shrinks.
    """
    rows, columns, channels = picture.shape
    if (columns, rows) == (width, height):
        return picture
    scale = window_scale((columns, rows), (width, height), fit)
    down, across = _weights(rows, height, scale), _weights(columns, width, scale)
    tall = (down @ picture.reshape(rows, -1).astype(np.float32)).reshape(height, columns, channels)
    return np.rint(np.clip(across @ tall, 0, 255)).astype(np.uint8)


def fit_mask(mask: np.ndarray, width: int, height: int, fit: Fit) -> np.ndarray:
    """bool [height,width] of bool [H,W], through the same window as :func:`fit_picture`."""
    return fit_picture(mask[..., None].astype(np.uint8) * 255, width, height, fit)[..., 0] > 127


def fit_points(points: np.ndarray, source: tuple[int, int], size: tuple[int, int], fit: Fit) -> np.ndarray:
    """Pixels [...,2] of a picture of ``source`` (width, height) as pixels of its window of ``size``."""
    return (points - np.array(source) / 2) * window_scale(source, size, fit) + np.array(size) / 2


def window_scale(source: tuple[int, int], size: tuple[int, int], fit: Fit) -> float:
    """Window pixels a source pixel."""
    return (max if fit == "crop" else min)(size[0] / source[0], size[1] / source[1])


def _weights(source: int, size: int, scale: float) -> np.ndarray:
    """f32 [size,source]: how much each source pixel counts in each result; nothing in a row beside the source."""
    places = (np.arange(size) + 0.5 - size / 2) / scale + source / 2
    apart = np.abs(places[:, None] - (np.arange(source) + 0.5))
    weights = np.clip(1 - apart / max(1.0, 1 / scale), 0, None)
    weights /= np.maximum(weights.sum(axis=1, keepdims=True), 1e-9)
    weights[(places < 0) | (places >= source)] = 0
    return weights.astype(np.float32)
