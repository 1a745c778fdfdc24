"""The point rasteriser by torch: the pixels of the one by NumPy, which tests/backend compares with a painter."""

import numpy as np
import pytest
import torch

from diffusion_as_shader.backend.tasks.point_raster import draw_points

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("square", [(1, 1), (3, 3), (5, 5), (7, 5)])
@pytest.mark.parametrize("own", [0.0, 0.05])
@pytest.mark.parametrize("seed", range(2))
def test_the_same_pixels(device, square, own, seed):
    random = np.random.default_rng(seed)
    size, count = (61, 43), 5000
    xy = random.uniform((-10, -10), (71, 53), (count, 2))
    xy[:50] = np.rint(xy[:50])
    z = np.where(random.random(count) < 0.5, random.uniform(-1, 6, count), random.integers(0, 4, count))
    xy[random.integers(0, count, 9), 0], z[random.integers(0, count, 9)] = np.nan, np.inf
    for colours in (random.integers(0, 256, (count, 3), np.uint8), random.random((count, 3), np.float32)):
        by_numpy, by_torch = (draw_points(xy, z, colours, size, square, own=own, device=each) for each in (None, device))
        assert by_numpy.valid.any() and not by_numpy.valid[by_numpy.depth == np.inf].any()
        for one, other in zip(by_numpy, by_torch, strict=True):
            assert one.dtype == other.dtype and (one == other).all()


@pytest.mark.parametrize("device", DEVICES)
def test_no_points(device):
    nothing = draw_points(np.zeros((0, 2)), np.zeros(0), np.zeros((0, 3), np.uint8), (8, 6), device=device)
    assert nothing.picture.shape == (6, 8, 3) and not nothing.valid.any()
