"""Object manipulation through the whole task: a square post before a wall, moved and worked out by hand."""

import importlib.util

import numpy as np
import pytest
from small_tasks import FOCAL, FRAMES, HEIGHT, REQUEST, WIDTH, K, place, prepare, replaced, still

from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.task_settings import CameraControl, MotionTransfer, ObjectManipulation

POST, WALL = 2.0, 8.0
LEFT, RIGHT, TOP, BOTTOM = 40, 56, 24, 40  # of the post, in pixels: round the picture's middle


def scene() -> dict[str, np.ndarray]:
    depth = np.full((HEIGHT, WIDTH), WALL, np.float32)
    depth[TOP:BOTTOM, LEFT:RIGHT] = POST
    mask = depth == POST
    return still(depth) | {"mask": mask}


def moved(motion: str, distance: float = 16.0, camera: str = ""):
    settings = ObjectManipulation(motion=motion, distance=distance)
    return replaced(REQUEST, task="object_manipulation", object=settings, camera=CameraControl(motion=camera))


def near(made, frame: int = -1) -> tuple[int, int, int, int]:
    """Left, right, top, bottom of what is nearer than the wall, ends beyond the last."""
    rows, columns = np.nonzero(made.signals["depth"][frame] < WALL - 0.5)
    return columns.min(), columns.max() + 1, rows.min(), rows.max() + 1


@pytest.mark.parametrize("motion, right, down", [("right", 1, 0), ("left", -1, 0), ("down", 0, 1), ("up", 0, -1)])
def test_it_goes_so_many_pixels_on_screen(motion, right, down):
    """The distance is pixels at the post's own depth; its points are 3x3 pixels."""
    made = prepare(moved(motion), scene())
    x, y = 16 * right, 16 * down
    assert near(made, 0) == (LEFT - 1, RIGHT + 1, TOP - 1, BOTTOM + 1)
    assert near(made) == (LEFT + x - 1, RIGHT + x + 1, TOP + y - 1, BOTTOM + y + 1)
    assert near(made, 4) == (LEFT + x // 2 - 1, RIGHT + x // 2 + 1, TOP + y // 2 - 1, BOTTOM + y // 2 + 1)
    middle = made.signals["tracking"][-1, 32 + y, 48 + x]
    assert np.abs(place(middle) - (48.5, 32.5)).max() < 3  # it took its colours along


@pytest.mark.parametrize("motion, sign", [("front", -1), ("back", 1)])
def test_depth_changes_by_the_same_length(motion, sign):
    """16 pixels at depth 2 are 2 * 16 / 80 = 0.4; the post grows or shrinks about the picture's middle."""
    made = prepare(moved(motion), scene())
    assert np.isclose(made.signals["depth"][-1, 32, 48], POST + sign * 0.4)
    left, right, top, bottom = near(made)
    size = 16 * POST / (POST + sign * 0.4)
    assert abs(right - left - 2 - size) <= 1 and abs(bottom - top - 2 - size) <= 1


def test_it_turns_about_its_own_centre():
    """A post of two depths, 2 on its left half and 3 on its right: by half a turn the left half goes right and back."""
    inputs = scene()
    depth = inputs["source_depth"].copy()
    depth[0, TOP:BOTTOM, 48:RIGHT] = 3
    made = prepare(moved("rot", 180), inputs | {"source_depth": depth})
    columns, rows = np.meshgrid(np.arange(LEFT, RIGHT) + 0.5, np.arange(TOP, BOTTOM) + 0.5)
    z = depth[0, TOP:BOTTOM, LEFT:RIGHT]
    points = np.stack([(columns - WIDTH / 2) * z / FOCAL, (rows - HEIGHT / 2) * z / FOCAL, z], -1).reshape(-1, 3)
    pivot = points.mean(axis=0)
    turned = (points - pivot) * (-1, 1, -1) + pivot
    across = turned[:, 0] / turned[:, 2] * FOCAL + WIDTH / 2
    left, right, top, bottom = near(made)
    assert abs(left + 1 - across.min()) <= 1 and abs(right - 1 - across.max()) <= 1
    depths = set(np.round(np.unique(made.signals["depth"][-1][made.signals["depth"][-1] < 7]), 3))
    assert depths == set(np.round(np.unique(turned[:, 2]), 3).astype(np.float32))


def test_a_positive_angle_turns_clockwise_as_seen_from_above():
    """A flat post turned by 30 degrees: its left end goes back, its right end comes forward, what faces the camera goes left."""
    made = prepare(moved("rot", 30), scene())
    last = made.signals["depth"][-1, 32]
    assert last[LEFT + 4] > POST + 0.02 and last[RIGHT - 4] < POST - 0.02


def test_what_it_leaves_is_black_and_what_is_near_covers():
    made = prepare(moved("right", 30), scene())
    valid = made.signals["valid"][-1]
    assert not valid[TOP + 1 : BOTTOM - 1, LEFT + 1 : RIGHT - 1].any()
    assert not made.signals["tracking"][-1, TOP + 1 : BOTTOM - 1, LEFT + 1 : RIGHT - 1].any()
    assert (made.signals["depth"][-1, 32, LEFT + 30 : RIGHT + 30] == POST).all()
    behind = np.full((HEIGHT, WIDTH), POST, np.float32)
    behind[TOP:BOTTOM, LEFT:RIGHT] = WALL
    hidden = prepare(moved("right", 30), still(behind) | {"mask": behind == WALL})
    assert (hidden.signals["depth"][-1, 32, RIGHT + 2 :] == POST).all()  # it goes behind what is nearer


def test_matrices_are_scaled_like_the_path_and_taken_relative():
    """Translations of a scene of median depth 4; the picture's is 8. The first matrix is not the identity."""
    start = np.eye(4)
    start[:3, 3] = 5, 6, 7
    steps = np.tile(np.eye(4), (FRAMES, 1, 1))
    steps[:, 0, 3] = np.linspace(0, 0.2, FRAMES)
    inputs = scene() | {"object_motion": steps @ start, "scene_depth": np.array([4.0])}
    made = prepare(moved("follow"), inputs)
    expected = 0.4 * FOCAL / POST
    assert near(made)[0] == LEFT - 1 + expected and "scaled by 2" in made.notes and "relative to its first frame" in made.notes


def test_the_camera_may_move_too():
    """The camera goes left by what takes the wall 5 pixels to the right, the post 20; the post itself goes 16 to the left."""
    made = prepare(moved("left", 16, camera="trans 0.5 0 0"), scene())
    assert near(made)[:2] == (LEFT - 1 + 20 - 16, RIGHT + 1 + 20 - 16)
    assert np.allclose(made.signals["world_to_camera"][-1, :3, 3], (0.5, 0, 0))


def test_the_object_moves_in_the_first_camera_s_space_whatever_the_camera_does():
    """Turned by 90 degrees about its line of sight, the camera sees 'right' go down, and the post about a place of its own."""
    made = prepare(moved("right", 16, camera="rot z 90"), scene())
    left, right, top, bottom = near(made)
    middle = ((left + right) / 2, (top + bottom) / 2)
    assert np.abs(np.array(middle) - (WIDTH / 2, HEIGHT / 2 + 16)).max() <= 1.5


@pytest.mark.parametrize(
    "change, distance, message",
    [
        ({"mask": np.zeros((HEIGHT, WIDTH), bool)}, 10, "The mask is empty"),
        ({"source_depth": np.where(scene()["source_depth"] == POST, np.inf, WALL).astype(np.float32)}, 10, "Nothing under the mask has a known depth"),
        ({}, 90, "behind the camera in frame 9"),
    ],
)
def test_what_cannot_be_moved_is_said_with_its_fix(change, distance, message):
    with pytest.raises(UsageError, match=message) as caught:
        prepare(moved("front", distance), scene() | change)
    assert caught.value.fix


def test_no_mask_and_no_motion():
    inputs = scene()
    with pytest.raises(UsageError, match="No motion of the object is given"):
        prepare(moved("path"), inputs)
    with pytest.raises(UsageError, match="No motion of the object is given"):
        prepare(moved(""), inputs)
    del inputs["mask"]
    with pytest.raises(UsageError, match="What is to move is not said"):
        prepare(moved("left"), inputs)


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="needs an environment without the model's libraries")
def test_a_click_says_what_it_needs():
    inputs = scene()
    del inputs["mask"]
    request = replaced(moved("left"), object=ObjectManipulation(motion="left", click=(48.0, 32.0)))
    with pytest.raises(UsageError) as caught:
        prepare(request, inputs)
    assert caught.value.fix


def test_points_of_a_video_move_under_the_mask():
    """Tracks that stand still; those whose first place the mask covers go 16 pixels down, the others stay."""
    columns, rows = np.meshgrid(np.arange(4.5, 92, 8), np.arange(4.5, 60, 8))
    first = np.stack([columns.ravel(), rows.ravel()], axis=1)
    mask = np.zeros((HEIGHT, WIDTH), bool)
    mask[:, :30] = True
    inputs = {
        "source": np.repeat(still(WALL)["source"], FRAMES, axis=0),
        "source_depth": np.full((FRAMES, HEIGHT, WIDTH), WALL, np.float32),
        "source_K": np.tile(K, (FRAMES, 1, 1)),
        "source_world_to_camera": np.tile(np.eye(4), (FRAMES, 1, 1)),
        "tracks": np.repeat(first[None], FRAMES, axis=0).astype(np.float32),
        "mask": mask,
    }
    made = prepare(replaced(moved("down"), transfer=MotionTransfer(tracker="file")), inputs)
    last = place(made.signals["tracking"][-1])
    for x, y in first[first[:, 1] < 40].astype(int):
        down = 16 if x < 30 else 0
        assert np.abs(last[y + down, x] - (x + 0.5, y + 0.5)).max() < 0.4
