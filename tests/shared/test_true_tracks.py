"""Where points truly are, from signals whose every number is known."""

import numpy as np
import pytest

from diffusion_as_shader.shared.camera import Camera, Intrinsics
from diffusion_as_shader.shared.true_tracks import tracks_of_signals

WIDTH, HEIGHT, FOCAL, COUNT = 96, 64, 80.0, 5
Y, X = np.mgrid[:HEIGHT, :WIDTH] + 0.5
CAMERA = Camera(Intrinsics(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2), np.eye(4))


def on_plane(x, y, depth):
    """f32 [H,W,3]: first-frame positions of a plane that faces the camera, seen at pixels x, y of the first frame."""
    return np.stack([(x - WIDTH / 2) * depth / FOCAL, (y - HEIGHT / 2) * depth / FOCAL, np.full_like(x, depth)], axis=-1).astype(np.float32)


def place(index, xy):
    """Where frame ``index`` shows what the first frame shows at xy: turned, grown and shifted."""
    angle, scale = 0.05 * index, 1 + 0.06 * index
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (xy - (48, 32)) @ turn.T + (48 + 2.3 * index, 32 - 1.1 * index)


def origin(index, xy):
    """The inverse of :func:`place`."""
    zero, across, down = (place(index, np.array(at, float)) for at in ((0, 0), (1, 0), (0, 1)))
    return (xy - zero) @ np.linalg.inv(np.stack([across - zero, down - zero], axis=1)).T


def wall():
    pixels = np.stack([X, Y], axis=-1)
    origins = [origin(index, pixels) for index in range(COUNT)]
    return np.stack([on_plane(each[..., 0], each[..., 1], 5.0) for each in origins])


def inside(xy):
    return ((xy >= 0) & (xy < (WIDTH, HEIGHT))).all(axis=-1)


def test_a_turning_wall_is_followed_to_a_part_of_a_pixel():
    objects = np.ones((COUNT, HEIGHT, WIDTH), np.uint16)
    found = tracks_of_signals(wall(), objects, CAMERA)
    assert len(found.objects) > 300 and found.visible[0].all()
    for index in range(COUNT):
        true = place(index, found.xy[0].astype(float))
        assert np.abs(found.xy[index] - true)[found.visible[index]].max() < 0.02
        assert (found.visible[index] == inside(true)).mean() > 0.98
        assert np.isnan(found.xy[index][~found.visible[index]]).all()


def test_what_hides_a_point_makes_it_invisible_and_keeps_its_own():
    rest, objects = wall(), np.ones((COUNT, HEIGHT, WIDTH), np.uint16)
    for index in range(COUNT):  # a card nearer to the camera moves over it
        left = 8 + 7 * index
        rest[index, 20:44, left : left + 24] = on_plane(X - 7 * index, Y, 3.0)[20:44, left : left + 24]
        objects[index, 20:44, left : left + 24] = 2
    found = tracks_of_signals(rest, objects, CAMERA)
    card, behind = found.objects == 2, found.objects == 1
    assert card.sum() > 20 and found.visible[:, card].all()
    np.testing.assert_allclose(found.xy[3][card] - found.xy[0][card], np.broadcast_to((21, 0), (card.sum(), 2)), atol=0.01)
    true = place(3, found.xy[0].astype(float))
    covered = (true >= (29 + 1, 20 + 1)).all(axis=1) & (true < (53 - 1, 44 - 1)).all(axis=1) & behind
    assert covered.sum() > 10 and not found.visible[3][covered].any()


def test_two_layers_of_one_object_are_not_mixed_up():
    """A body behind an arm: the same object, the same place in the first frame's picture, another depth."""
    rest, objects = wall(), np.ones((COUNT, HEIGHT, WIDTH), np.uint16)
    rest[0, 20:44, 30:60] = on_plane(X, Y, 3.0)[20:44, 30:60]  # the arm, which is gone in all other frames
    found = tracks_of_signals(rest, objects, CAMERA)
    arm = (found.xy[0] > (31, 21)).all(axis=1) & (found.xy[0] < (59, 43)).all(axis=1)
    assert arm.sum() > 10 and not found.visible[1:, arm].any()


def test_background_and_unknown_places_have_no_points():
    rest, objects = wall(), np.ones((COUNT, HEIGHT, WIDTH), np.uint16)
    objects[:, :, :40] = 0
    rest[:, :20] = np.nan
    found = tracks_of_signals(rest, objects, CAMERA)
    assert (found.xy[0] > (40, 20)).all()
    assert found.visible[1:].mean() > 0.6


@pytest.mark.parametrize("kind, most", [(np.float16, 0.3), (np.float32, 0.02)])
def test_half_precision_is_a_little_less_exact(kind, most):
    found = tracks_of_signals(wall().astype(kind), np.ones((COUNT, HEIGHT, WIDTH), np.uint16), CAMERA)
    errors = np.abs(found.xy[1] - place(1, found.xy[0].astype(float)))[found.visible[1]]
    assert found.visible[1].mean() > 0.6 and np.percentile(errors, 99) < most
