"""The point rasteriser against a painter who draws one rectangle after another, pixel for pixel."""

import numpy as np
import pytest

from diffusion_as_shader.backend.tasks.point_raster import draw_points

SQUARES = [(1, 1), (3, 3), (5, 5), (7, 5), (5, 7), (1, 9)]


def paint(xy, z, colours, size, square, own=0.0):
    """From far to near, in numbers that Python counts itself: picture, valid, depth. A point's own pixel is painted again
    where the point counts as nearer."""
    width, height = size
    picture = np.zeros((height, width, colours.shape[1]), colours.dtype)
    depth = np.full((height, width), np.inf, np.float32)
    nearness = [np.float32(each) for each in z]
    drawn = [k for k in range(len(z)) if np.isfinite(xy[k]).all() and np.isfinite(nearness[k]) and nearness[k] > 0]
    strokes = [(nearness[k], k, square[0] // 2, square[1] // 2) for k in drawn]
    strokes += [(nearness[k] * np.float32(1 - own), k, 0, 0) for k in drawn] if own else []
    for _, point, across, down in sorted(strokes, key=lambda stroke: (-stroke[0], stroke[1])):  # of equals the later on top
        column, row = int(np.floor(xy[point][0])), int(np.floor(xy[point][1]))
        for y in range(row - down, row + down + 1):
            for x in range(column - across, column + across + 1):
                if 0 <= x < width and 0 <= y < height:
                    picture[y, x], depth[y, x] = colours[point], nearness[point]
    return picture, np.isfinite(depth), depth


def assert_painted(xy, z, colours, size, square, own=0.0):
    for drawn, painted in zip(draw_points(xy, z, colours, size, square, own=own), paint(xy, z, colours, size, square, own), strict=True):
        assert drawn.dtype == painted.dtype and drawn.shape == painted.shape
        assert (drawn == painted).all()


@pytest.mark.parametrize("square", SQUARES)
@pytest.mark.parametrize("own", [0.0, 0.2])
@pytest.mark.parametrize("seed", range(2))
def test_any_points_as_the_painter_draws_them(square, own, seed):
    """On and off the picture, before and behind the camera, and in front of each other."""
    random = np.random.default_rng(seed)
    size, count = (int(random.integers(8, 40)), int(random.integers(8, 30))), 400
    xy = random.uniform(-12, 12, (count, 2)) + random.uniform((0, 0), size, (count, 2))
    z = random.choice([random.uniform(-1, 6, count), np.geomspace(1e-30, 1e30, count)], axis=0)
    assert_painted(xy, z, random.integers(0, 256, (count, 3), np.uint8), size, square, own)


@pytest.mark.parametrize("square", SQUARES)
def test_of_equally_near_points_the_later_is_seen(square):
    random = np.random.default_rng(5)
    xy, z = random.uniform(0, 20, (300, 2)), random.integers(1, 4, 300).astype(float)
    assert_painted(xy, z, random.integers(0, 256, (300, 4), np.uint8), (20, 20), square)


def test_depths_that_are_one_number_in_single_precision_are_equally_near():
    xy = np.full((2, 2), 4.5)
    colours = np.uint8([[10, 0, 0], [20, 0, 0]])
    assert_painted(xy, np.array([3.0, 3.0 + 1e-12]), colours, (9, 9), (3, 3))
    assert draw_points(xy, np.array([3.0, 3.0 + 1e-12]), colours, (9, 9)).picture[4, 4, 0] == 20


def test_a_picture_s_own_points_give_the_picture_again():
    """A slope: without ``own`` each pixel shows the nearest neighbour, with it itself; what is much nearer covers either way."""
    rows, columns = np.indices((9, 9))
    xy = np.stack([columns.ravel() + 0.5, rows.ravel() + 0.5], axis=1)
    z = 5 - 0.02 * rows.ravel()
    colours = np.arange(81, dtype=np.uint8)[:, None]
    again = draw_points(xy, z, colours, (9, 9), own=0.03).picture[..., 0]
    beside = draw_points(xy, z, colours, (9, 9)).picture[..., 0]
    assert (again.ravel() == np.arange(81)).all() and (beside[:-1, :-1].ravel() == again[1:, 1:].ravel()).all()
    z[40] = 2
    assert (draw_points(xy, z, colours, (9, 9), own=0.03).picture[3:6, 3:6] == 40).all()


def test_points_on_the_picture_s_borders():
    """A pixel is [i, i + 1): 0 is its first, the width is one too far; a square reaches in from outside."""
    edges = [-2.0, -1.5, -1.0, -1e-9, 0.0, 5.0, 9.999999, 10.0, 10.5, 11.0, 12.0]
    xy = np.array([(x, y) for x in edges for y in edges])
    z = np.random.default_rng(1).permutation(len(xy)) + 1.0
    colours = np.arange(3 * len(xy), dtype=np.float32).reshape(-1, 3)
    for square in SQUARES:
        assert_painted(xy, z, colours, (10, 10), square)
        assert_painted(xy, z, colours, (10, 10), square, own=0.5)


def test_what_is_at_or_behind_the_camera_or_no_number_is_not_drawn():
    xy = np.full((7, 2), 2.5)
    xy[5:] = [[np.nan, 2.5], [np.inf, 2.5]]
    z = np.array([0.0, -0.0, -1.0, np.nan, np.inf, 1.0, 1.0])
    colours = np.full((7, 3), 9, np.uint8)
    drawn = draw_points(xy, z, colours, (6, 5))
    assert not drawn.valid.any() and not drawn.picture.any() and np.isinf(drawn.depth).all()
    assert drawn.picture.shape == (5, 6, 3) and drawn.picture.dtype == np.uint8
    assert not draw_points(xy[:0], z[:0], colours[:0], (6, 5)).valid.any()


def test_points_just_before_the_camera_fly_past_the_picture():
    xy = np.array([[1e300, 4.0], [-1e300, 4.0], [4.5, 4.5]])
    drawn = draw_points(xy, np.array([1e-38, 1e-300, 2.0]), np.full((3, 3), 7, np.uint8), (9, 9))
    assert drawn.valid.sum() == 9 and drawn.depth[4, 4] == 2


def test_a_square_without_a_middle_is_a_mistake():
    with pytest.raises(ValueError, match="4x3 pixels has no middle"):
        draw_points(np.zeros((1, 2)), np.ones(1), np.zeros((1, 3), np.uint8), (9, 9), (4, 3))
