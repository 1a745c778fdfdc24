"""Depth as an image model's grey levels, and the size that it paints in."""

import numpy as np
import pytest

from diffusion_as_shader.backend.vision.control_picture import BEYOND, canvas_for, near_is_white
from diffusion_as_shader.shared.errors import UsageError


def depth_of(*values) -> np.ndarray:
    """Columns of these depths, many of each, so that no single one counts as an outlier."""
    return np.repeat(np.float32([values]), 8, axis=0).repeat(50, axis=1)


def test_levels_are_inverse_depth_by_hand():
    """z of 2, 4 and 8: inverse 0.5, 0.25 and 0.125, so the middle one lies at a third."""
    levels = near_is_white(depth_of(2, 4, 8))
    assert levels.dtype == np.float32 and levels.shape == (8, 150)
    np.testing.assert_allclose(levels[0, [0, 50, 100]], [1, 1 / 3, 0], atol=1e-6)


def test_levels_know_no_unit():
    depth = depth_of(2, 3, 8)
    np.testing.assert_allclose(near_is_white(depth), near_is_white(1000 * depth), atol=1e-5)


@pytest.mark.parametrize("unknown", [np.inf, np.nan, 0, -3])
def test_the_unknown_is_farther_than_all_that_is_known(unknown):
    levels = near_is_white(depth_of(2, 4, 8, unknown))
    np.testing.assert_allclose(levels[0, [0, 50, 100, 150]], [1, BEYOND + (1 - BEYOND) / 3, BEYOND, 0], atol=1e-6)


def test_a_grain_before_the_lens_does_not_darken_the_rest():
    depth = np.full((100, 100), 8, np.float32)
    depth[:, :50] = 4
    depth[0, 0] = 0.01
    levels = near_is_white(depth)
    assert levels[0, 0] == 1 and levels[50, 10] == 1 and levels[50, 90] == 0


def test_a_wall_is_near_and_its_noise_no_relief():
    noise = np.random.default_rng(0).normal(0, 1e-5, (20, 30))
    assert (near_is_white((5 + noise).astype(np.float32)) == 1).all()


def test_where_nothing_is_known_it_says_so():
    with pytest.raises(UsageError, match="unknown everywhere"):
        near_is_white(np.full((8, 8), np.inf, np.float32))


@pytest.mark.parametrize(
    "picture, side, multiple, content, size",
    [
        ((720, 480), 1024, 16, (1254, 836), (1264, 848)),  # 3:2 times 418: 1,048,344 pixels
        ((720, 480), 1024, 32, (1254, 836), (1280, 864)),
        ((1280, 720), 1024, 16, (1280, 720), (1280, 720)),  # 0.88 of the area: as it is
        ((1072, 720), 1024, 16, (1273, 855), (1280, 864)),
        ((4096, 4096), 1024, 16, (1024, 1024), (1024, 1024)),
        ((4096, 16), 1024, 16, (16384, 64), (16384, 64)),
    ],
)
def test_the_size_painted(picture, side, multiple, content, size):
    assert canvas_for(picture, side, multiple) == (picture, content, size)


@pytest.mark.parametrize("width, height", [(720, 480), (1008, 560), (1072, 720), (16, 16), (2000, 1008), (4080, 4064)])
@pytest.mark.parametrize("multiple", [16, 32])
def test_nothing_is_stretched(width, height, multiple):
    canvas = canvas_for((width, height), 1024, multiple)
    assert canvas.content[0] * height == canvas.content[1] * width
    assert all(side % multiple == 0 and 0 <= side - inner < multiple for side, inner in zip(canvas.size, canvas.content))
    assert 0.5 * 1024**2 < canvas.content[0] * canvas.content[1] < 2.1 * 1024**2


@pytest.mark.parametrize("side", [96, 256, 1024])
def test_there_and_back_is_the_picture_in_its_place(side):
    """A soft disc, so that what is lost is only what resampling loses; its middle stays where it was."""
    rows, columns = np.mgrid[:64, :96] + 0.5
    disc = 255 / (1 + np.exp(np.hypot(columns - 30, rows - 20) - 12))
    picture = np.repeat(disc[..., None], 3, axis=-1).astype(np.uint8)
    canvas = canvas_for((96, 64), side, 16)
    filled = canvas.fill(picture)
    assert filled.dtype == np.float32 and filled.shape == (canvas.size[1], canvas.size[0], 3)
    back = canvas.cut(filled)
    assert back.shape == picture.shape and back.dtype == np.uint8
    assert np.abs(back.astype(int) - picture).mean() < 1
    assert abs((back[..., 0] * columns).sum() / back[..., 0].sum() - (picture[..., 0] * columns).sum() / picture[..., 0].sum()) < 0.05


def test_beside_the_content_its_border_goes_on():
    canvas = canvas_for((96, 64), 96, 32)
    levels = np.tile(np.linspace(0, 1, 96, dtype=np.float32), (64, 1))
    filled = canvas.fill(levels)
    (width, height), (inner, below) = canvas.size, canvas.content
    assert width > inner and height > below and filled.shape == (height, width)
    assert (filled[:below, inner:] == filled[:below, inner - 1 : inner]).all() and (filled[below:] == filled[below - 1]).all()
