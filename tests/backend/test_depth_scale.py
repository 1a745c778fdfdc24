"""One scale for all frames of estimated depth: flicker goes, what the camera did stays."""

import numpy as np

from diffusion_as_shader.backend.vision.depth_scale import in_units_of_the_nearest, steady

RAMP = np.linspace(2, 8, 20 * 30, dtype=np.float32).reshape(20, 30)


def test_a_relative_model_s_frames_take_the_first_one_s_scale():
    factors = np.array([1, 1.3, 0.7, 1.1, 2], np.float32)
    z, notes = steady(RAMP * factors[:, None, None], relative=True)
    assert np.allclose(z, RAMP, rtol=1e-5)
    assert notes == ["The depth of single frames is brought to one scale by the median of neighbouring frames (factors up to 2.00)."]


def test_what_moves_by_itself_and_holes_do_not_change_the_scale():
    z = np.stack([RAMP] * 3)
    z[1, :6], z[2, 18:] = 1.5, np.inf
    assert np.array_equal(steady(z, relative=True)[0], z) and steady(z, relative=True)[1] == []
    z[1] = np.inf
    assert np.array_equal(steady(z, relative=True)[0], z)


def test_in_metres_flicker_goes_and_a_walk_stays():
    """Depth halves over 25 frames, with 5 % of flicker on every second one."""
    walk = np.geomspace(1, 0.5, 25)
    flicker = np.where(np.arange(25) % 2, 1.05, 1 / 1.05)
    z, notes = steady((RAMP[None] * (walk * flicker)[:, None, None]).astype(np.float32), relative=False)
    got = np.median(z / RAMP, axis=(1, 2))
    ripple = np.abs(np.diff(np.log(got), 2)).max()
    assert ripple < 0.02 < np.abs(np.diff(np.log(walk * flicker), 2)).max()
    assert 0.45 < got[-1] / got[0] < 0.6 and len(notes) == 1


def test_one_picture_stays_as_it_is():
    assert np.array_equal(steady(RAMP[None], relative=True)[0], RAMP[None])


def test_the_nearest_is_one_away_and_nothing_is_farther_than_fifty():
    z = in_units_of_the_nearest(np.stack([RAMP, RAMP * 1000]))
    assert np.isclose(np.percentile(z[0], 1), 1, atol=1e-3) and z[0].max() < 5 and (z[1] == 50).all()
