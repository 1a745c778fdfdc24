"""Readers of what --write writes that know only the published forms: OpenEXR's own, a plain .flo parser, pixels of PNG."""

import struct
import zlib

import numpy as np
import pytest


def read_exr(file) -> np.ndarray:
    """f32 [H,W] or [H,W,3] by the OpenEXR project's reader."""
    OpenEXR = pytest.importorskip("OpenEXR", reason="needs the reference reader of OpenEXR files")
    with OpenEXR.File(str(file)) as opened:
        (channel,) = opened.channels().values()
        return channel.pixels.copy()


def read_flo(file) -> np.ndarray:
    """f32 [H,W,2], NaN where unknown."""
    content = file.read_bytes()
    mark, width, height = struct.unpack("<4sii", content[:12])
    assert mark == b"PIEH" and len(content) == 12 + 8 * width * height
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).copy()
    flow[(np.abs(flow) > 1e9).any(axis=-1)] = np.nan
    return flow


def read_png16(file) -> np.ndarray:
    """u16 [H,W] of a 16-bit grey PNG whose rows all have filter Up."""
    content, place, data = file.read_bytes(), 8, b""
    while place < len(content):
        (length,) = struct.unpack(">I", content[place : place + 4])
        name, body = content[place + 4 : place + 8], content[place + 8 : place + 8 + length]
        if name == b"IHDR":
            width, height, bits, kind = struct.unpack(">IIBB", body[:10])
            assert (bits, kind) == (16, 0)
        data += body if name == b"IDAT" else b""
        place += 12 + length
    rows = np.frombuffer(zlib.decompress(data), np.uint8).reshape(height, 1 + 2 * width)
    return np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).reshape(-1).view(">u2").reshape(height, width).astype(int)
