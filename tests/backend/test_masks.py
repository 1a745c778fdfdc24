"""Masks from pictures: what counts as moving, and what is refused."""

import imageio.v3 as imageio
import numpy as np
import pytest

from diffusion_as_shader.backend.vision.masks import check_mask, mask_from_click, read_mask
from diffusion_as_shader.shared import png
from diffusion_as_shader.shared.errors import UsageError

WHITE_LEFT = np.zeros((6, 10, 3), np.uint8)
WHITE_LEFT[:, :4] = 255


def saved(tmp_path, pixels, name="mask.png"):
    imageio.imwrite(tmp_path / name, pixels, plugin="pillow")
    return tmp_path / name


def refused(call) -> str:
    with pytest.raises(UsageError) as caught:
        call()
    assert caught.value.fix
    return caught.value.message


@pytest.mark.parametrize("pixels", [WHITE_LEFT, WHITE_LEFT[..., 0]])
def test_white_moves(tmp_path, pixels):
    mask = read_mask(saved(tmp_path, pixels), size=(10, 6))
    assert mask.pixels.dtype == bool and mask.pixels[:, :4].all() and not mask.pixels[:, 4:].any() and mask.notes == []


def test_what_is_opaque_moves_whatever_its_colour(tmp_path):
    pixels = np.zeros((6, 10, 4), np.uint8)
    pixels[:, :, 0], pixels[2:4, 5:, 3] = 255, 255
    mask = read_mask(saved(tmp_path, pixels)).pixels
    assert mask[2:4, 5:].all() and mask.sum() == 10


def test_16_bit_grey_and_a_palette(tmp_path):
    (tmp_path / "16.png").write_bytes(png.encode(np.uint16([[0, 32000, 33200, 65535]])))
    assert read_mask(tmp_path / "16.png").pixels.tolist() == [[False, False, True, True]]
    saved(tmp_path, WHITE_LEFT, "palette.gif")
    assert read_mask(tmp_path / "palette.gif").pixels.sum() == 24


def test_grey_counts_from_one_half_and_that_is_said(tmp_path):
    ramp = np.repeat(np.uint8([[0, 60, 127, 128, 200, 255]]), 2, axis=0)
    mask = read_mask(saved(tmp_path, ramp))
    assert mask.pixels[0].tolist() == [False, False, False, True, True, True]
    assert mask.notes[0].startswith("67 % of ") and "half white moves" in mask.notes[0]


def test_what_is_no_mask_is_told(tmp_path):
    black = saved(tmp_path, np.zeros((6, 10, 3), np.uint8))
    assert refused(lambda: read_mask(black)) == f"{black} is empty: no pixel of it is white or opaque."
    white = saved(tmp_path, WHITE_LEFT, "white.png")
    assert "white.png is 10x6 and the picture 20x12" in refused(lambda: read_mask(white, size=(20, 12)))
    (tmp_path / "words.png").write_text("white")
    assert "cannot be read as a picture" in refused(lambda: read_mask(tmp_path / "words.png"))
    assert "There is no mask" in refused(lambda: read_mask(tmp_path / "absent.png"))
    assert "whole picture" in check_mask(np.ones((2, 2), bool), "all.png").notes[0]


def test_a_click_beside_the_picture_is_told():
    assert "is not in the picture of 10x6" in refused(lambda: mask_from_click(WHITE_LEFT, (10, 2)))
