"""Middlebury's flow files (.flo; Baker et al. 2011): "PIEH", width, height, then u and v of each pixel, row by row,
all little-endian 32-bit. What is not known is greater than 1e9."""

from __future__ import annotations

import struct

import numpy as np

MARK, UNKNOWN = b"PIEH", 1e10


def encode(flow: np.ndarray) -> bytes:
    """The file of f32 [H,W,2]: how far each pixel's surface moves, in pixels right and down; NaN becomes UNKNOWN."""
    height, width, _ = flow.shape
    known = np.where(np.isnan(flow), UNKNOWN, flow).astype("<f4")
    return MARK + struct.pack("<ii", width, height) + known.tobytes()
