"""The motion grammar: signs and orders worked out by hand, ranges, and what is no motion."""

import numpy as np
import pytest

from diffusion_as_shader.shared.camera_motion import motion
from diffusion_as_shader.shared.errors import UsageError

AHEAD, RIGHT = np.array([0, 0, 1, 1]), np.array([1, 0, 0, 1])
QUARTER_ABOUT_Y = np.array([[0, 0, 1, 0], [0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1]])


def shift(x, y, z):
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


@pytest.mark.parametrize(
    "text, point, seen_at",
    [
        ("trans 1 0 0", AHEAD, (1, 0, 1)),  # content right: the camera went left
        ("trans 0 1 0", AHEAD, (0, 1, 1)),  # content down: the camera went up
        ("trans 0 0 1", AHEAD, (0, 0, 2)),  # content farther: the camera went back
        ("rot y 90", AHEAD, (1, 0, 0)),  # content right: the camera panned left
        ("rot x 90", AHEAD, (0, -1, 0)),  # content up (y down): the camera tilted down
        ("rot z 90", RIGHT, (0, 1, 0)),  # what was right is below: content clockwise
        ("rot Y -90", AHEAD, (-1, 0, 0)),
    ],
)
def test_signs(text, point, seen_at):
    poses = motion(text, 49)
    assert poses.shape == (49, 4, 4) and (poses[0] == np.eye(4)).all()
    assert np.allclose(poses[-1] @ point, (*seen_at, 1))


def test_it_grows_evenly_over_the_clip_whatever_its_length():
    for frames in (9, 49, 121):
        assert np.allclose(motion("trans 2 0 0", frames)[:, 0, 3], np.linspace(0, 2, frames))
    angles = np.degrees(np.arctan2(*motion("rot z 180", 5)[:, [1, 0], 0].T))
    assert np.allclose(angles, [0, 45, 90, 135, 180])


def test_sequence_acts_in_the_frame_that_the_camera_has_reached():
    """Turned left by 90 degrees, a step of the content away from the camera is along the camera's new axis."""
    text = "rot y 90; trans 0 0 1"
    in_sequence, as_reference = motion(text, 2)[-1], motion(text, 2, order="reference")[-1]
    assert np.allclose(in_sequence, shift(0, 0, 1) @ QUARTER_ABOUT_Y)
    assert np.allclose(in_sequence @ AHEAD, (1, 0, 1, 1))
    assert np.allclose(as_reference, QUARTER_ABOUT_Y @ shift(0, 0, 1))
    assert np.allclose(as_reference @ AHEAD, (2, 0, 0, 1))


def test_three_in_a_row():
    parts = [motion(text, 4)[-1] for text in ("trans 1 0 0", "rot y 30", "rot x 20")]
    text = "trans 1 0 0; rot y 30 ;rot x 20;"
    assert np.allclose(motion(text, 4)[-1], parts[2] @ parts[1] @ parts[0])
    assert np.allclose(motion(text, 4, "reference")[-1], parts[0] @ parts[1] @ parts[2])


def test_ranges_wait_grow_and_stay():
    assert np.allclose(motion("trans 4 0 0 2 6", 9)[:, 0, 3], [0, 0, 0, 1, 2, 3, 4, 4, 4])
    one_after_the_other = motion("trans 1 0 0 0 2; trans 0 1 0 2 4", 5)[:, :2, 3]
    assert np.allclose(one_after_the_other, [[0, 0], [0.5, 0], [1, 0], [1, 0.5], [1, 1]])


def test_equal_start_and_end_jump_after_that_frame():
    assert motion("trans 1 0 0 2 2", 5)[:, 0, 3].tolist() == [0, 0, 0, 1, 1]
    assert motion("trans 1 0 0 0 0", 3)[:, 0, 3].tolist() == [0, 1, 1]
    assert (motion("trans 1 0 0; rot y 90; spiral 2", 1) == np.eye(4)).all()


def test_an_orbit_keeps_what_it_goes_round():
    poses = motion("trans 0 0 -5 0 0; rot y 60; trans 0 0 5 0 0", 13)
    assert np.allclose(poses @ (0, 0, 5, 1), (0, 0, 5, 1))
    assert np.allclose(np.linalg.norm(np.linalg.inv(poses)[:, :3, 3] - (0, 0, 5), axis=1), 5)


def test_spiral_looks_at_its_target_and_comes_back():
    radius, poses = 4.0, motion("spiral 4", 21)
    target = poses @ (0, 0, radius / 2, 1)
    assert np.allclose(target[:, :2], 0) and (target[:, 2] > radius / 2 - 1e-9).all()
    assert np.allclose(poses[[0, -1]], np.eye(4))
    quarter = np.linalg.inv(poses[5])[:3, 3]  # t = 1/4: sin(pi t) = sqrt(1/2), a quarter of the way round
    wide = 0.1 * radius * np.sqrt(0.5)
    assert np.allclose(quarter, (wide, 0, -0.5 * wide))
    assert np.allclose(poses[:, :3, :3] @ poses[:, :3, :3].transpose(0, 2, 1), np.eye(3))
    assert np.allclose(np.linalg.det(poses[:, :3, :3]), 1)


def test_between_frames():
    assert np.allclose(motion("trans 1 0 0", 5, at=np.array([0.5, 3.9]))[:, 0, 3], [0.125, 0.975])


@pytest.mark.parametrize(
    "text, column, what",
    [
        ("trans 1 0 0; rto y 10", 14, "'rto' is no motion"),
        ("trans 1 0", 1, "2 values"),
        ("trans 1 0 0 5", 1, "4 values"),
        ("rot y", 1, "1 value"),
        ("rot w 10", 5, "no axis"),
        ("rot y ten", 7, "'ten' is no number"),
        ("trans 1 nan 0", 9, "no number"),
        ("trans 1 0 0 0 49", 15, "outside the motion's 49 frames"),
        ("trans 1 0 0 -1 4", 13, "outside"),
        ("trans 1 0 0 9 4", 15, "reversed"),
        ("spiral 0", 8, "not above 0"),
    ],
)
def test_mistakes_are_said_with_their_column(text, column, what):
    with pytest.raises(UsageError, match=what) as caught:
        motion(text, 49)
    assert f"Column {column} " in caught.value.message and caught.value.fix


def test_nothing_is_no_motion():
    for text in ("", " ; "):
        with pytest.raises(UsageError, match="empty"):
            motion(text, 49)
    with pytest.raises(UsageError, match="0 frames"):
        motion("rot y 1", 0)
    with pytest.raises(UsageError, match="no order"):
        motion("rot y 1", 2, order="backwards")
