"""The reference rasteriser against arithmetic that can be done by hand."""

import numpy as np

from diffusion_as_shader.shared.camera import Camera, Intrinsics
from diffusion_as_shader.shared.rasterize import rasterize

CAMERA = Camera(Intrinsics(64, 48, 40.0, 40.0, 32.0, 24.0), np.eye(4), near=0.1)
TWO = np.array([[0, 1, 2], [0, 2, 3]])


def quad(left, top, right, bottom, depth) -> np.ndarray:
    """A rectangle at one depth that covers these pixels exactly."""
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]], float)
    return np.concatenate([(corners - (32, 24)) / 40 * depth, np.full((4, 1), depth)], axis=1)


def test_pixels_are_covered_where_their_centres_are():
    corners = quad(10.4, 5.6, 20.6, 9.4, 2.0)
    raster = rasterize(corners, TWO, corners, CAMERA)
    drawn = np.argwhere(raster.triangle >= 0)
    assert drawn.min(axis=0).tolist() == [6, 10] and drawn.max(axis=0).tolist() == [8, 20]
    assert len(drawn) == 3 * 11
    assert np.allclose(raster.depth[7, 15], 2) and np.isinf(raster.depth[0, 0])


def test_the_nearer_surface_wins_in_any_order():
    positions = np.concatenate([quad(5, 5, 30, 30, 3.0), quad(10, 10, 50, 40, 2.0)])
    triangles = np.concatenate([TWO, TWO + 4])
    for order in ([0, 1, 2, 3], [3, 2, 1, 0]):
        raster = rasterize(positions, triangles[order], positions, CAMERA)
        assert np.isin(np.array(order)[raster.triangle[20, 20]], (2, 3)) and raster.depth[7, 7] == 3
        assert np.allclose(raster.depth[20, 20], 2)


def test_attributes_are_perspective_correct():
    """A floor y = 1 seen at an angle: the ray through a pixel meets it where arithmetic says."""
    floor = np.array([[-9, 1, 1.0], [9, 1, 1], [9, 1, 30], [-9, 1, 30]])
    raster = rasterize(floor, TWO, floor, CAMERA)
    for row, column in ((30, 20), (40, 50), (47, 3)):
        depth = 40 / (row + 0.5 - 24)
        assert np.allclose(raster.attributes[row, column], [(column + 0.5 - 32) / 40 * depth, 1, depth], rtol=1e-5)
        assert np.allclose(raster.depth[row, column], depth, rtol=1e-5)


def test_triangles_are_cut_at_the_near_plane_not_dropped():
    floor = np.array([[-9, 1, -20.0], [9, 1, -20], [9, 1, 30], [-9, 1, 30]])
    raster = rasterize(floor, TWO, floor, CAMERA)
    assert (raster.triangle[30:, 24:40] >= 0).all()  # down to the bottom edge, where z is 1.7
    assert np.allclose(raster.attributes[47, 32, 2], 40 / 23.5, rtol=1e-5)
    assert (rasterize(floor - [0, 0, 60], TWO, floor, CAMERA).triangle == -1).all()


def test_neighbours_share_no_pixel_and_leave_no_gap():
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-0.7, 0.7, 9)), axis=-1).reshape(-1, 2)
    grid += rng.uniform(-0.05, 0.05, grid.shape)
    positions = np.concatenate([grid, np.full((81, 1), 2.0)], axis=1)
    corner = (np.arange(8)[:, None] * 9 + np.arange(8)).ravel()
    triangles = np.concatenate([np.stack([corner, corner + 1, corner + 9], 1), np.stack([corner + 1, corner + 10, corner + 9], 1)])
    together = rasterize(positions, triangles, positions, CAMERA).triangle
    alone = sum((rasterize(positions, triangles[[index]], positions, CAMERA).triangle >= 0).astype(int) for index in range(len(triangles)))
    inside = np.s_[14:34, 16:48]
    assert (together[inside] >= 0).all() and (alone[inside] == 1).all()


def test_nothing_to_draw():
    nothing = rasterize(np.zeros((0, 3)), np.zeros((0, 3), int), np.zeros((0, 2)), CAMERA)
    assert (nothing.triangle == -1).all() and np.isinf(nothing.depth).all() and nothing.attributes.shape == (48, 64, 2)
    flat = np.zeros((3, 3)) + [0, 0, 2]
    assert (rasterize(flat, np.array([[0, 1, 2]]), flat, CAMERA).triangle == -1).all()
