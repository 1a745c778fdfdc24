"""Camera control of a video: a room seen by a moving camera, its points lifted with known and with estimated poses."""

import numpy as np
import pytest
from small_tasks import FRAMES, HEIGHT, REQUEST, WIDTH, K, picture, place, prepare, replaced

from diffusion_as_shader.backend.tasks.point_cloud import moved, pixel_centres, project, sample, unproject
from diffusion_as_shader.shared import camera_motion
from diffusion_as_shader.shared.task_settings import CameraControl, MotionTransfer

OWN = camera_motion.motion("trans 0.6 0 0.3; rot y 6", FRAMES)
FILE = replaced(REQUEST, transfer=MotionTransfer(tracker="file"))


def filmed() -> dict[str, np.ndarray]:
    """Points on a bumpy wall, a hundred of them, by a camera that moves as OWN says: tracks with their true depth."""
    first = pixel_centres((WIDTH, HEIGHT)).reshape(HEIGHT, WIDTH, 2)[8:56:5, 10:86:7].reshape(-1, 2)
    z = 4 + 0.8 * np.sin(first[:, 0] / 9) + 0.5 * np.cos(first[:, 1] / 7)
    world = unproject(first, z, K)
    seen = [project(world, K, pose) for pose in OWN]
    return {
        "source": np.concatenate([picture(seed) for seed in range(FRAMES)]),
        "source_K": np.tile(K, (FRAMES, 1, 1)),
        "tracks": np.stack([xy for xy, _ in seen]).astype(np.float32),
        "track_visible": np.ones((FRAMES, len(first)), bool),
        "track_depth": np.stack([z for _, z in seen]).astype(np.float32),
        "source_depth": np.full((FRAMES, HEIGHT, WIDTH), 4, np.float32),
    }


def shown_at(made, frame: int, pixels: np.ndarray) -> np.ndarray:
    """First places that a frame's colours at pixels say."""
    column, row = np.floor(pixels).astype(int).T
    inside = (column >= 1) & (column < WIDTH - 1) & (row >= 1) & (row < HEIGHT - 1)
    return place(made.signals["tracking"][frame])[row[inside], column[inside]], inside


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("onto", ["append", "override"])
def test_a_path_is_appended_to_the_video_s_own_or_replaces_it(known, onto):
    inputs = filmed()
    if known:
        inputs["source_world_to_camera"] = OWN @ camera_motion.motion("rot z 40", 2)[1]  # any world
    text = "trans 0 0 -0.5; rot x 4"
    made = prepare(replaced(FILE, camera=CameraControl(motion=text, onto=onto)), inputs)
    path = camera_motion.motion(text, FRAMES)
    expected = path @ OWN if onto == "append" else path
    assert np.allclose(made.signals["world_to_camera"], expected, atol=1e-9 if known or onto == "override" else 2e-3)
    world = unproject(inputs["tracks"][0], inputs["track_depth"][0], K)
    for frame in (0, 4, 8):
        xy, _ = project(world, K, expected[frame])
        found, inside = shown_at(made, frame, xy)
        wrong = np.abs(found - inputs["tracks"][0][inside]).max(axis=1) > 0.5
        assert inside.sum() > 40 and wrong.mean() < 0.02, (frame, wrong.mean())


def test_overriding_with_no_motion_stands_still():
    """Where the camera is held, each point of the still scene stays where it was in the first frame."""
    made = prepare(replaced(FILE, camera=CameraControl(motion="trans 0 0 0", onto="override")), filmed())
    first, last = made.signals["tracking"][[0, -1]]
    assert made.signals["valid"][-1].sum() > 0.2 * WIDTH * HEIGHT
    assert (np.abs(first.astype(int) - last).max(axis=-1) <= 1).mean() > 0.97


def test_hidden_points_are_not_drawn():
    inputs = filmed()
    inputs["track_visible"][5] = False
    inputs["source_world_to_camera"] = OWN.copy()
    made = prepare(replaced(FILE, camera=CameraControl(motion="rot y 2")), inputs)
    assert not made.signals["valid"][5].any() and made.signals["valid"][6].any()
    assert "1 of 9 frames show no point, the first of them frame 6" in made.notes


def test_depth_is_looked_up_in_the_nearest_pixel():
    depth = np.arange(12, dtype=np.float32).reshape(3, 4)
    places = np.array([[0, 0], [3.99, 2.99], [1.5, 0.999], [4, 1], [-0.01, 1], [np.nan, 1]])
    assert sample(depth, places).tolist() == [0, 11, 1, np.inf, np.inf, np.inf]


def test_there_and_back():
    random = np.random.default_rng(0)
    xy, z = random.uniform(0, 60, (50, 2)), random.uniform(1, 9, 50)
    pose = camera_motion.motion("trans 1 2 3; rot y 50", 3)[-1]
    world = moved(unproject(xy, z, K), np.linalg.inv(pose))
    again, depth = project(world, K, pose)
    assert np.allclose(again, xy) and np.allclose(depth, z)
