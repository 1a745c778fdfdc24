"""The contact sheet shows the right pictures in the right places."""

import numpy as np
import pytest

from diffusion_as_shader.shared import png
from diffusion_as_shader.shared.contact_sheet import BAR, GAP, TILE_WIDTH, contact_sheet, shrink, write_label
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.take import Take

SIZE = (48, 32)


class ArrayImages:
    """Pictures kept as arrays beside real files, so that no codec is needed here."""

    def __init__(self):
        self.kept = {}

    def read(self, file):
        try:
            return self.kept[file.name.removesuffix(".partial"), file.parent.name]
        except KeyError:
            raise UsageError(f"There is no image {file}.", "Give one.") from None

    def write(self, file, pixels):
        file.write_bytes(png.encode(pixels))
        self.kept[file.name.removesuffix(".partial"), file.parent.name] = pixels


@pytest.fixture
def take(tmp_path):
    request = GenerationRequest(width=SIZE[0], height=SIZE[1], frames=9, start=1, end=9)
    take = Take.create(tmp_path / "take", request, ArrayImages())
    take.write_first_frame(np.full((32, 48, 3), 10, np.uint8))
    for index in range(9):
        take.write_tracking_frame(index, np.full((32, 48, 3), 100 + index, np.uint8))
        take.write_frame(index, np.full((32, 48, 3), 200 + index, np.uint8))
    return take


def test_first_frame_tracking_and_result_at_five_times(take):
    sheet = contact_sheet(take)
    tile_height = TILE_WIDTH * 32 // 48
    large = round((2 * tile_height + GAP) * 48 / 32)
    assert (sheet[BAR + 5, GAP + 5] == 10).all()
    for column, index in enumerate((0, 2, 4, 6, 8)):
        x = 2 * GAP + large + column * (TILE_WIDTH + GAP) + 5
        assert (sheet[BAR + 5, x] == 100 + index).all()
        assert (sheet[BAR + tile_height + GAP + 5, x] == 200 + index).all()


def test_a_missing_result_is_said(take):
    del take.images.kept["0009.png", "frames"]
    with pytest.raises(UsageError, match="0009.png"):
        contact_sheet(take)


def test_shrinking_averages_all_that_is_covered():
    pixels = np.arange(12 * 9 * 3, dtype=np.uint8).reshape(12, 9, 3)
    assert np.array_equal(shrink(pixels, 9, 12), pixels)
    expected = pixels.reshape(4, 3, 3, 3, 3).mean(axis=(1, 3))
    assert np.abs(shrink(pixels, 3, 4) - expected).max() <= 0.5


def test_a_label_that_leaves_the_picture_is_cut():
    picture = np.zeros((8, 20, 3), np.uint8)
    write_label(picture, "FRAME 1", 4, 2)
    assert picture.any() and not picture[:, :4].any()
