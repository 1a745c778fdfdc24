"""OpenEXR images of 32-bit floats, written exactly: infinities, NaN and negative values stay what they are.

"OpenEXR File Layout" (openexr.com): a single-part scanline file, ZIP compression in blocks of 16 rows. Blender
writes these values exactly too, but takes twice the time and three equal channels for one.
"""

from __future__ import annotations

import struct
import zlib
from concurrent.futures import ThreadPoolExecutor

import numpy as np

MAGIC, VERSION = 20000630, 2
ZIP, INCREASING_Y, FLOAT = 3, 0, 2
ROWS = 16  # in a ZIP block
FAST = 1  # zlib's level


def encode(pixels: np.ndarray, names: str) -> bytes:
    """The file of f32 [H,W,C]; ``names`` has a letter for each channel, such as "RGB", or "Y" for grey."""
    height, width, _ = pixels.shape
    order = sorted(range(len(names)), key=names.__getitem__)  # channels stand in the order of the alphabet
    rows = np.ascontiguousarray(pixels[..., order].transpose(0, 2, 1), "<f4").reshape(height, -1)
    header = _header(width, height, sorted(names))
    starts = range(0, height, ROWS)
    with ThreadPoolExecutor() as threads:  # zlib lets others run meanwhile
        blocks = list(threads.map(lambda start: _block(start, rows[start : start + ROWS]), starts))
    ends = np.cumsum([len(header) + 8 * len(blocks), *map(len, blocks)])
    return b"".join([header, ends[:-1].astype("<u8").tobytes(), *blocks])


def _block(start: int, rows: np.ndarray) -> bytes:
    raw = rows.view(np.uint8).reshape(-1, 2)
    halves = np.concatenate([raw[:, 0], raw[:, 1]])  # bytes of even places, then those of odd ones
    steps = np.empty_like(halves)
    steps[0] = halves[0]
    np.subtract(halves[1:], halves[:-1], out=steps[1:])
    steps[1:] += 128
    deflate = zlib.compressobj(FAST, strategy=zlib.Z_FILTERED)
    data = deflate.compress(steps.data) + deflate.flush()
    if len(data) >= rows.nbytes:
        data = rows.tobytes()  # what does not shrink is stored as it is
    return struct.pack("<ii", start, len(data)) + data


def _header(width: int, height: int, names: list[str]) -> bytes:
    channels = b"".join(name.encode() + b"\0" + struct.pack("<iB3xii", FLOAT, 0, 1, 1) for name in names) + b"\0"
    window = struct.pack("<4i", 0, 0, width - 1, height - 1)
    attributes = (
        ("channels", "chlist", channels),
        ("compression", "compression", bytes([ZIP])),
        ("dataWindow", "box2i", window),
        ("displayWindow", "box2i", window),
        ("lineOrder", "lineOrder", bytes([INCREASING_Y])),
        ("pixelAspectRatio", "float", struct.pack("<f", 1)),
        ("screenWindowCenter", "v2f", struct.pack("<2f", 0, 0)),
        ("screenWindowWidth", "float", struct.pack("<f", 1)),
    )
    entries = (
        name.encode() + b"\0" + kind.encode() + b"\0" + struct.pack("<i", len(value)) + value
        for name, kind, value in attributes
    )
    return struct.pack("<ii", MAGIC, VERSION) + b"".join(entries) + b"\0"
