"""A contact sheet: one picture of a take, to judge it at a glance.

On the left the first frame, large; beside it, at five times, the tracking video above and the result below.
"""

from __future__ import annotations

import numpy as np

from .take import Take

TIMES = 5
TILE_WIDTH = 288
GAP, BAR = 8, 26
BACKGROUND, INK = 24, 225
LETTER_SCALE = 2

# Five rows of three pixels: one octal digit a row.
GLYPHS = {
    "A": "25755", "C": "34443", "D": "65556", "E": "74647", "F": "74644", "G": "34553", "I": "72227", "K": "55655", "L": "44447",
    "M": "57755", "N": "65555", "O": "75557", "R": "65655", "S": "34216", "T": "72222", "U": "55557", "V": "55552",
    "0": "75557", "1": "26227", "2": "61247", "3": "61216", "4": "55711", "5": "74616", "6": "34757", "7": "71244",
    "8": "75757", "9": "75716", ".": "00002", "-": "00700", ",": "00024",
}  # fmt: skip


def contact_sheet(take: Take) -> np.ndarray:
    """u8 [H,W,3] of a take whose chosen times have arrived; UsageError where a picture is missing."""
    request = take.record.request
    chosen = [int(index) for index in np.rint(np.linspace(0, request.frames - 1, TIMES))]
    height = max(1, round(TILE_WIDTH * request.height / request.width))
    large_height = 2 * height + GAP
    large_width = round(large_height * request.width / request.height)
    sheet = np.full((BAR + large_height + GAP, GAP + large_width + TIMES * (GAP + TILE_WIDTH) + GAP, 3), BACKGROUND, np.uint8)
    _place(sheet, shrink(take.read_first_frame(), large_width, large_height), GAP, BAR)
    write_label(sheet, "FIRST FRAME", GAP, GAP)
    for column, index in enumerate(chosen):
        left = 2 * GAP + large_width + column * (TILE_WIDTH + GAP)
        frame = request.start + index * (request.end - request.start) / (request.frames - 1)
        write_label(sheet, f"{'TRACKING AND RESULT, FRAME' if not column else 'FRAME'} {frame:g}", left, GAP)
        _place(sheet, shrink(take.images.read(take.tracking_file(index)), TILE_WIDTH, height), left, BAR)
        _place(sheet, shrink(take.images.read(take.frame_file(index)), TILE_WIDTH, height), left, BAR + height + GAP)
    return sheet


def shrink(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """u8 [H,W,3] to u8 [height,width,3]: the mean of the pixels that each new one covers."""
    rows = _averaging(pixels.shape[0], height)
    columns = _averaging(pixels.shape[1], width)
    halfway = np.tensordot(rows, pixels.astype(np.float32), axes=(1, 0))
    return np.rint(np.einsum("wk,hkc->hwc", columns, halfway, optimize=True)).astype(np.uint8)


def _averaging(old: int, new: int) -> np.ndarray:
    """f32 [new,old]: how much of each old pixel lies in each new one; rows sum to 1."""
    edges = np.linspace(0, old, new + 1)
    low, high = edges[:-1, None], edges[1:, None]
    cells = np.arange(old)
    overlap = np.minimum(high, cells + 1) - np.maximum(low, cells)
    return (np.maximum(overlap, 0) / (high - low)).astype(np.float32)


def write_label(picture: np.ndarray, text: str, left: int, top: int) -> None:
    """Capitals and figures of 6x10 pixels into the picture; a sign without a glyph is a blank."""
    for position, letter in enumerate(text):
        rows = [int(digit) for digit in GLYPHS.get(letter, "00000")]
        bits = np.array([[row >> shift & 1 for shift in (2, 1, 0)] for row in rows], bool)
        bits = bits.repeat(LETTER_SCALE, axis=0).repeat(LETTER_SCALE, axis=1)
        x = left + position * 4 * LETTER_SCALE
        target = picture[top : top + bits.shape[0], x : x + bits.shape[1]]
        target[bits[: target.shape[0], : target.shape[1]]] = INK


def _place(sheet: np.ndarray, picture: np.ndarray, left: int, top: int) -> None:
    sheet[top : top + picture.shape[0], left : left + picture.shape[1]] = picture
