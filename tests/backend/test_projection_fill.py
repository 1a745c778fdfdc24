import cv2
import numpy as np

from diffusion_as_shader.backend.engines.projection_fill import LEAST_KNOWN, NearestSurface, fill_by_object, push_pull
from diffusion_as_shader.backend.engines.projection_view import View, smooth_code
from diffusion_as_shader.backend.engines.projection_warp import FirstFrame, bilinear
from diffusion_as_shader.shared.psnr import psnr


def ramp(height: int, width: int) -> np.ndarray:
    rows, columns = np.indices((height, width), dtype=np.float32)
    return np.stack([columns, rows, rows + columns], axis=-1)


def still_view(label: np.ndarray, positions: np.ndarray) -> View:
    rows, columns = np.indices(label.shape, dtype=np.float32)
    nearness = np.full(label.shape, 0.5, np.float32)
    pixels = np.stack([columns + 0.5, rows + 0.5], axis=-1)
    return View(label, label > 0, pixels, nearness, nearness / 100, positions)


def test_push_pull_keeps_what_is_known_and_continues_it():
    picture, known = ramp(47, 61), np.ones((47, 61), bool)
    known[15:30, 20:40] = False
    filled = push_pull(np.where(known[..., None], picture, 999), known)
    assert np.allclose(filled[known], picture[known], atol=1e-4)
    assert np.abs(filled - picture)[~known].max() < 8  # of a ramp of 20 over the hole


def test_push_pull_from_one_pixel_reaches_everywhere():
    known = np.zeros((33, 70), bool)
    known[3, 60] = True
    picture = np.zeros((33, 70, 3), np.float32)
    picture[3, 60] = (10, 20, 30)
    assert np.allclose(push_pull(picture, known), (10, 20, 30), atol=1e-3)


def test_an_object_is_filled_from_itself_alone():
    label = np.ones((40, 40), np.int32)
    label[:, 20:] = 2
    label[30:, 30:] = 3
    picture = np.where(label[..., None] == 1, 50, 200).astype(np.float32) * np.ones(3, np.float32)
    holes = np.zeros((40, 40), bool)
    holes[10:25, 10:30] = True
    holes[30:, 30:] = True
    picture[holes] = 0
    filled = fill_by_object(picture, ~holes, label, holes)
    assert np.allclose(filled[label[holes] == 1], 50, atol=1e-3)
    assert np.allclose(filled[label[holes] == 2], 200, atol=1e-3)
    assert np.isnan(filled[label[holes] == 3]).all() and LEAST_KNOWN > 1


def test_hidden_points_take_the_colour_of_their_own_object():
    """Two objects at the same place in space: each point asks its own; one never seen asks the nearest of all."""
    label = np.repeat(np.int32([[1] * 20 + [2] * 20]), 30, axis=0)
    rows, columns = np.indices(label.shape, dtype=np.float32)
    positions = np.stack([columns % 20, rows, np.zeros_like(rows)], axis=-1)
    image = np.where(label[..., None] == 1, 40, 220).astype(np.uint8) * np.ones(3, np.uint8)
    nearest = NearestSurface(FirstFrame(image, still_view(label, positions)))
    places = np.float32([[10, 10, 1], [10, 10, 1], [10, 10, 1]])
    colours = nearest.colours(places, np.int32([1, 2, 9]))
    assert np.allclose(colours[0], 40) and np.allclose(colours[1], 220)
    assert (colours[2] > 40).all() and (colours[2] < 220).all()
    assert np.array_equal(colours, nearest.colours(places, np.int32([1, 2, 9])))


def test_nearest_surface_follows_a_ramp():
    label = np.ones((40, 60), np.int32)
    positions = ramp(40, 60) * [1, 1, 0]
    nearest = NearestSurface(FirstFrame(ramp(40, 60).astype(np.uint8), still_view(label, positions.astype(np.float32))))
    asked = np.float32([[30, 20, 0.5], [12, 8, 0.5]])
    assert np.abs(nearest.colours(asked, np.int32([1, 1])) - [[30, 20, 50], [12, 8, 20]]).max() < 3


def test_bilinear_samples_at_pixel_centres():
    picture = ramp(20, 30)
    places = np.float32([[5.5, 3.5], [5.75, 3.5], [10.0, 8.0], [0.0, 0.0], [30.0, 20.0]])
    expected = [[5, 3], [5.25, 3], [9.5, 7.5], [0, 0], [29, 19]]
    assert np.allclose(bilinear(picture, places)[:, :2], expected, atol=1e-5)


def test_steps_of_8_bit_colours_become_ramps_again():
    rows, columns = np.indices((60, 240), dtype=np.float32)
    true = np.stack([40 + columns * 0.29, 30 + rows * 0.45, 90 + columns * 0.1], axis=-1)
    true[:, 120:] += 60  # an edge, which must stay where it is
    smooth = smooth_code(np.rint(true).astype(np.uint8))
    rounded = np.abs(np.rint(true) - true).mean()
    assert np.abs(smooth - true)[8:-8, 8:-8].mean() < 0.6 * rounded
    assert np.abs(smooth - true).max() <= 1.001


def test_psnr_of_known_errors():
    black, grey = np.zeros((4, 4, 3), np.uint8), np.full((4, 4, 3), 16, np.uint8)
    assert psnr(black, black) == float("inf")
    assert abs(psnr(black, grey) - 20 * np.log10(255 / 16)) < 1e-6
    assert np.isnan(psnr(black, grey, np.zeros((4, 4), bool)))
    assert abs(cv2.PSNR(black, grey) - psnr(black, grey)) < 1e-3
