"""Camera control through the whole task, on scenes that are worked out by hand."""

import numpy as np
import pytest
from small_tasks import FOCAL, FRAMES, HEIGHT, REQUEST, WIDTH, K, picture, place, prepare, replaced, still

from diffusion_as_shader.shared import camera_motion, tracking
from diffusion_as_shader.shared.camera import Camera, Intrinsics
from diffusion_as_shader.shared.errors import Cancelled, UsageError
from diffusion_as_shader.shared.task_settings import CameraControl, DepthSettings

WALL = 4.0
ONE_PIXEL = 1.6  # a colour's level and the square of a point


def moved_by(text: str, order="sequence"):
    return replaced(REQUEST, camera=CameraControl(motion=text, order=order))


def shift(made, row: int = HEIGHT // 2, column: int = WIDTH // 2) -> np.ndarray:
    """Pixels (right, down) by which what the last frame shows at a place has moved."""
    assert made.signals["valid"][-1, row, column]
    return np.array([column + 0.5, row + 0.5]) - place(made.signals["tracking"][-1, row, column])


@pytest.mark.parametrize(
    "text, expected",
    [
        ("trans 0.5 0 0", (0.5 * FOCAL / WALL, 0)),  # content right
        ("trans -0.5 0 0", (-0.5 * FOCAL / WALL, 0)),
        ("trans 0 0.5 0", (0, 0.5 * FOCAL / WALL)),  # content down
        ("rot y 8", (FOCAL * np.tan(np.radians(8)), 0)),  # content right
        ("rot x 8", (0, -FOCAL * np.tan(np.radians(8)))),  # content up
    ],
)
def test_where_the_middle_of_a_wall_goes(text, expected):
    made = prepare(moved_by(text), still(WALL))
    right, down = expected
    row, column = int(HEIGHT / 2 + down), int(WIDTH / 2 + right)
    assert np.abs(shift(made, row, column) - expected).max() < ONE_PIXEL


def test_content_gets_farther_and_turns_clockwise():
    """Below the middle, 20 pixels: twice as far it is 10 below; a quarter turn clockwise takes it to the left."""
    farther = prepare(moved_by(f"trans 0 0 {WALL}"), still(WALL))
    assert np.abs(place(farther.signals["tracking"][-1, HEIGHT // 2 + 10, WIDTH // 2]) - (WIDTH / 2, HEIGHT / 2 + 20)).max() < 2.5 * ONE_PIXEL
    turned = prepare(moved_by("rot z 90"), still(WALL))
    assert np.abs(place(turned.signals["tracking"][-1, HEIGHT // 2, WIDTH // 2 - 20]) - (WIDTH / 2, HEIGHT / 2 + 20)).max() < ONE_PIXEL


def test_the_order_of_two_segments():
    """After a quarter turn about the line of sight, 'right' is along what was down in the picture (in sequence: right of the
    turned camera's picture; as the reference does it: the content goes right first, and is then turned, so down)."""
    length = 0.5 * FOCAL / WALL
    for order, (right, down) in {"sequence": (length, 0), "reference": (0, length)}.items():
        made = prepare(moved_by("rot z 90 0 0; trans 0.5 0 0 4 8", order), still(WALL))
        middle = place(made.signals["tracking"][-1, int(HEIGHT / 2 + down), int(WIDTH / 2 + right)])
        assert np.abs(middle - (WIDTH / 2, HEIGHT / 2)).max() < ONE_PIXEL, order


def test_the_first_frame_has_the_colour_code_of_its_own_depth():
    """A floor: red and green by place, blue by distance to the camera, percentiles over what is visible."""
    depth = np.broadcast_to(np.linspace(6, 4, HEIGHT, dtype=np.float32)[:, None], (HEIGHT, WIDTH)).copy()
    depth[:10] = np.inf
    made = prepare(moved_by("trans 1 0 0"), still(depth))
    rows, columns = np.nonzero(np.isfinite(depth))
    rays = np.stack([(columns + 0.5 - WIDTH / 2) / FOCAL, (rows + 0.5 - HEIGHT / 2) / FOCAL, np.ones(len(rows))], 1)
    rest = rays * depth[rows, columns, None]
    camera = Camera(Intrinsics(WIDTH, HEIGHT, FOCAL, FOCAL, WIDTH / 2, HEIGHT / 2), np.eye(4))
    expected = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    expected[rows, columns] = tracking.quantise(tracking.colour(rest, camera, tracking.depth_scale(rest, camera)))
    first = made.signals["tracking"][0]
    assert not first[:9].any() and not made.signals["valid"][0, :9].any()
    assert (first[10:] == expected[10:]).all()  # each pixel shows its own point
    assert np.allclose(made.signals["depth"][0, 10:], depth[10:]) and np.isinf(made.signals["depth"][0, :9]).all()


def test_cameras_first_frame_and_report():
    inputs = still(WALL)
    made = prepare(moved_by("trans 0 0 -1; rot y 15"), inputs)
    expected = camera_motion.motion("trans 0 0 -1; rot y 15", FRAMES)
    assert np.allclose(made.signals["world_to_camera"], expected) and np.allclose(made.signals["K"], K)
    assert (made.signals["first_frame"] == inputs["source"][0]).all()
    assert made.report.used == ["source", "source_depth", "source_K"] and made.phases == ["draw"]


def test_a_near_surface_covers_a_far_one_as_the_camera_passes():
    """A post at depth 2 before a wall at 6; the camera goes left, so the post goes right three times as far."""
    depth = np.full((HEIGHT, WIDTH), 6.0, np.float32)
    depth[:, 44:52] = 2
    made = prepare(moved_by("trans 0.5 0 0"), still(depth))
    last = made.signals["depth"][-1, HEIGHT // 2]
    assert (last[44 + 20 : 52 + 20] == 2).all()  # 0.5 * 80 / 2
    assert not made.signals["valid"][-1, HEIGHT // 2, 52:57].any()  # what nobody has seen stays black
    assert (last[10:50] == 6).all()


def test_a_path_is_relative_to_its_own_first_frame_and_scaled_where_it_was_made_elsewhere():
    """The scene's camera stands anywhere; its median depth is 10, the picture's 4."""
    start = np.array([[0, 1, 0, 3], [-1, 0, 0, 5], [0, 0, 1, 7], [0, 0, 0, 1.0]])
    motion = camera_motion.motion("trans 1 0 0; rot z 9", FRAMES)
    path = {"world_to_camera": motion @ start, "scene_depth": np.array([10.0])}
    made = prepare(REQUEST, still(WALL) | path)
    expected = motion.copy()
    expected[:, :3, 3] *= 0.4
    assert np.allclose(made.signals["world_to_camera"], expected)
    assert "scaled by 0.4, from the scene's median depth 10 to the picture's 4" in made.notes
    assert {"world_to_camera", "scene_depth"} <= set(made.report.used)


def test_a_zooming_path_zooms_and_frame_0_stays_the_picture_s_own():
    """The path's lens is another than the picture's; it grows by half."""
    lens = np.array([[50.0, 0, 20], [0, 50, 30], [0, 0, 1]])
    zooming = np.stack([np.diag([1 + 0.5 * t / 8, 1 + 0.5 * t / 8, 1]) @ lens for t in range(FRAMES)])
    made = prepare(REQUEST, still(WALL) | {"world_to_camera": np.tile(np.eye(4), (FRAMES, 1, 1)), "K": zooming})
    assert np.allclose(made.signals["K"][0], K) and np.allclose(made.signals["K"][-1], np.diag([1.5, 1.5, 1]) @ K)


def test_the_lens_where_nobody_knows_it():
    inputs = still(WALL)
    del inputs["source_K"]
    made = prepare(moved_by("rot y 1"), inputs)
    assert np.isclose(np.degrees(2 * np.arctan(WIDTH / 2 / made.signals["K"][0, 0, 0])), 50)
    assert "taken to see 50 degrees across" in made.notes


def test_holes_in_the_depth_are_left_out_and_said():
    depth = np.full((HEIGHT, WIDTH), WALL, np.float32)
    depth[:, :24] = np.nan
    depth[:8, :] = -1
    depth[8:16, 50:] = 1e10
    made = prepare(moved_by("trans 0 0 0"), still(depth))
    known = np.isfinite(depth) & (depth > 0) & (depth < 1e9)
    assert (made.signals["valid"][0][2:-2, 2:-2] >= known[2:-2, 2:-2]).all()
    assert not made.signals["valid"][0][:7].any() and "has no depth" in made.notes


def test_points_behind_the_camera_are_not_drawn_and_empty_frames_are_said():
    made = prepare(moved_by(f"trans 0 0 {-2 * WALL}"), still(WALL))
    assert made.signals["valid"][0].all() and not made.signals["valid"][-1].any()
    assert "5 of 9 frames show no point, the first of them frame 5" in made.notes


def test_a_first_frame_that_the_user_brings_is_handed_on():
    brought = picture(7)[0]
    made = prepare(moved_by("rot y 3"), still(WALL) | {"first_frame": brought})
    assert (made.signals["first_frame"] == brought).all() and "first_frame" in made.report.used


@pytest.mark.parametrize(
    "request_, changes, message",
    [
        (REQUEST, {}, "No camera path is given"),
        (moved_by("rot q 3"), {}, "Column 5 of the motion"),
        (moved_by("rot y 3"), {"source_depth": np.zeros((1, HEIGHT, WIDTH), np.float32)}, "holds no depth"),
        (REQUEST, {"world_to_camera": np.full((FRAMES, 4, 4), np.nan)}, "Frame 1 of the camera path is no movement in space"),
        (REQUEST, {"world_to_camera": np.tile(np.eye(4), (FRAMES, 1, 1)), "K": np.zeros((FRAMES, 3, 3))}, "Frame 1 of the camera path has no lens"),
        (moved_by("rot y 1"), {"source_K": np.diag([-9.0, 9, 1])[None]}, "of the picture has no lens"),
        (moved_by("trans 1 0 0"), {"scene_depth": np.array([0.0])}, "median depth of 0"),
    ],
)
def test_what_cannot_be_used_is_said_with_its_fix(request_, changes, message):
    with pytest.raises(UsageError, match=message) as caught:
        prepare(request_, still(WALL) | changes)
    assert caught.value.fix


def test_a_wrong_path_is_told_before_depth_is_looked_for():
    inputs = {"source": picture()}
    with pytest.raises(UsageError, match="Column 1 of the motion"):
        prepare(moved_by("pan 3"), inputs)


def test_depth_that_should_be_there_is_not_estimated():
    inputs = still(WALL)
    del inputs["source_depth"]
    with pytest.raises(UsageError, match="from the scene, and none came"):
        prepare(replaced(moved_by("rot y 3"), depth=DepthSettings(source="scene")), inputs)


def test_cancel_between_frames():
    asked = iter([False, False, True])
    with pytest.raises(Cancelled):
        prepare(moved_by("rot y 3"), still(WALL), cancelled=lambda: next(asked))
