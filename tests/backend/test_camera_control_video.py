"""Camera control of a video: a room seen by a moving camera, its points lifted with known and with estimated poses."""

import cv2
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


def filmed_plane() -> dict[str, np.ndarray]:
    """A textured slanted plane as OWN films it: frames, true depth, no tracks and no poses."""
    noise = np.random.default_rng(2).random((HEIGHT, WIDTH, 3)).astype(np.float32)
    texture = np.clip((cv2.GaussianBlur(noise, (0, 0), 1.5) - 0.5) * 900 + 128, 0, 255).astype(np.uint8)
    normal, distance = np.array([0.3, -0.2, 1.0]), 4.0  # n X = d in the first camera
    rays = np.linalg.inv(K) @ np.stack([*pixel_centres((WIDTH, HEIGHT)).T, np.ones(WIDTH * HEIGHT)])
    frames, depths = [], []
    for pose in OWN:
        rotation, shift = pose[:3, :3], pose[:3, 3]
        half = np.array([[1, 0, -0.5], [0, 1, -0.5], [0, 0, 1]])  # OpenCV's pixels have their centres at whole numbers
        homography = half @ K @ (rotation + np.outer(shift, normal) / distance) @ np.linalg.inv(half @ K)
        frames.append(cv2.warpPerspective(texture, homography, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE))
        here = rotation @ normal
        depths.append(((distance + here @ shift) / (here @ rays)).reshape(HEIGHT, WIDTH).astype(np.float32))
    return {"source": np.stack(frames), "source_depth": np.stack(depths), "source_K": np.tile(K, (FRAMES, 1, 1))}


def test_from_a_video_and_its_depth_alone():
    """Points are tracked, the camera is estimated from them, and held: what can be followed stays where it was."""
    request = replaced(REQUEST, camera=CameraControl(motion="trans 0 0 0", onto="override"), transfer=MotionTransfer(grid="24x16"))
    made = prepare(request, filmed_plane())
    assert made.phases == ["tracks", "draw"] and "own camera was estimated from 384 tracks" in made.notes
    middle = (slice(12, -12), slice(18, -18))
    both = made.signals["valid"][0][middle] & made.signals["valid"][-1][middle]
    off = np.abs(place(made.signals["tracking"][0]) - place(made.signals["tracking"][-1]))[middle].max(axis=-1)
    assert both.mean() > 0.5 and (off[both] > 1.5).mean() < 0.1
    appended = prepare(replaced(request, camera=CameraControl(motion="trans 0 0 0")), filmed_plane())
    assert np.abs(appended.signals["world_to_camera"] - OWN).max() < 0.08
