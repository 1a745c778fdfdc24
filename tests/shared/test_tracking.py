"""The colour code: against a plain per-point loop, its edges, its inverse, and how fast it is."""

import time

import numpy as np
import pytest

from diffusion_as_shader.shared import tracking
from diffusion_as_shader.shared.camera import Camera, Intrinsics, project

CAMERA = Camera(Intrinsics(720, 480, 800.0, 800.0, 350.0, 250.0), np.eye(4))
SCALE = tracking.DepthScale(0.1, 0.4)


def points(count: int) -> np.ndarray:
    return np.random.default_rng(3).uniform((-4, -4, -1), (4, 4, 9), (count, 3))


def colours_by_loop(positions, camera, scale) -> np.ndarray:
    """The code as the paper's text says it, one point at a time, in Python."""
    window, colours = camera.intrinsics, np.zeros((len(positions), 3))
    for index, (x, y, z) in enumerate(positions.tolist()):
        if z <= 0:
            continue
        u, v = window.fx * x / z + window.cx, window.fy * y / z + window.cy
        if 0 <= u < window.width and 0 <= v < window.height:
            near = (1 / (x * x + y * y + z * z) ** 0.5 - scale.low) / (scale.high - scale.low)
            colours[index] = u / window.width, v / window.height, min(max(near, 0.0), 1.0)
    return colours


@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_colours_are_those_of_a_plain_loop(kind):
    rest = points(2000).astype(kind)
    plain = colours_by_loop(rest, CAMERA, SCALE)
    assert 100 < plain.any(axis=1).sum() < 1900
    assert np.abs(tracking.colour(rest, CAMERA, SCALE) - plain).max() < 1e-5


def test_colouring_is_20_times_faster_than_a_plain_loop():
    rest = (points(10_000) * (0.2, 0.2, 0.5) + (0, 0, 4)).astype(np.float32)  # most of them on screen

    def seconds(work) -> float:
        start = time.perf_counter()
        work(rest, CAMERA, SCALE)
        return time.perf_counter() - start

    plain = min(seconds(colours_by_loop) for _ in range(3))
    assert plain / min(seconds(tracking.colour) for _ in range(9)) > 20


def test_the_2nd_and_98th_percentile_of_inverse_distance_become_0_and_1():
    distances = np.linspace(1, 5, 1001)
    scale = tracking.depth_scale(np.stack([0 * distances, 0 * distances, distances], axis=1), CAMERA)
    assert np.allclose((scale.low, scale.high), np.percentile(1 / distances, (2, 98)))
    blue = tracking.colour(np.array([[0, 0, 1 / scale.high], [0, 0, 1 / scale.low], [0, 0, 100.0]]), CAMERA, scale)[:, 2]
    assert np.allclose(blue, [1, 0, 0], atol=1e-6)


def test_one_distance_only_is_no_division_by_zero():
    scale = tracking.depth_scale(np.array([[0, 0, 2.0]]), CAMERA)
    assert np.isfinite(tracking.colour(np.array([[0, 0, 2.0]]), CAMERA, scale)).all()


def test_blue_is_euclidean_distance_not_depth():
    side, ahead = np.array([[3.0, 0, 9.0]]), np.array([[0, 0, np.sqrt(90)]])
    assert np.allclose(tracking.inverse_distance(side, CAMERA), tracking.inverse_distance(ahead, CAMERA))


def test_black_off_screen_behind_the_camera_and_in_the_margins():
    rest = np.array([[0.0, 0, 2], [0, 0, -2], [9, 0, 2], [0, -0.55, 2]])
    assert tracking.colour(rest, CAMERA, SCALE).any(axis=1).tolist() == [True, False, False, True]
    padded = Camera(CAMERA.intrinsics, np.eye(4), visible=(0, 100, 720, 380))
    assert tracking.colour(rest, padded, SCALE).any(axis=1).tolist() == [True, False, False, False]


def test_colours_say_where_the_point_was():
    rest = points(500)
    pixels, depth = project(rest, CAMERA)
    colours = tracking.colour(rest, CAMERA, SCALE)
    seen = colours.any(axis=1)
    assert np.abs(tracking.first_frame_pixels(colours, 720, 480) - pixels)[seen].max() < 1e-2
    eight_bit = tracking.first_frame_pixels(tracking.quantise(colours), 720, 480)
    assert (np.abs(eight_bit - pixels)[seen].max(axis=0) <= np.array([720, 480]) / 255 / 2 + 1e-2).all()


def test_a_tracking_frame_rounds_and_is_black_where_nothing_is():
    rest = np.zeros((2, 2, 3), np.float32)
    rest[..., 2] = 5
    valid = np.array([[True, False], [False, True]])
    frame = tracking.tracking_frame(rest, valid, CAMERA, SCALE)
    assert frame.dtype == np.uint8 and frame[0, 0].tolist() == [124, 133, 85] and not frame[~valid].any()
    seen = tracking.coverage(frame, valid)
    assert (seen.surface, seen.coloured, seen.black) == (0.5, 0.5, 0.0)


def test_hidden_is_behind_another_surface_of_the_first_frame():
    depth = np.full((480, 720), np.inf, np.float32)
    depth[:, 360:] = 3.0
    rest = np.array([[0.5, 0, 5.0], [0.5, 0, 3.0], [-0.5, 0, 5.0], [0.5, 0, 3.02], [0.5, 0, -5.0], [50.0, 0, 5.0]])
    hidden = tracking.hidden_in_first_frame(rest, depth, CAMERA)
    assert hidden.tolist() == [True, False, False, False, False, False]
