"""The camera of a video from tracks with depth: against paths that are known exactly."""

import numpy as np
import pytest

from diffusion_as_shader.backend.vision.poses import camera_from_tracks, estimate_poses
from diffusion_as_shader.shared.errors import UsageError

WIDTH, HEIGHT, FRAMES = 480, 320, 9
K = np.array([[400.0, 0, 240], [0, 400, 160], [0, 0, 1]])


def turn(axis: str, degrees: float) -> np.ndarray:
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    place = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = np.eye(4)
    matrix[np.ix_(place, place)] = [[c, -s], [s, c]]
    return matrix


def shift(x: float, y: float, z: float) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, 3] = x, y, z
    return matrix


def path(step) -> np.ndarray:
    return np.stack([step(index / (FRAMES - 1)) for index in range(FRAMES)])


WALK = path(lambda t: turn("y", 12 * t) @ turn("x", -5 * t) @ shift(-0.8 * t, 0.2 * t, -1.1 * t))


def cloud(count: int = 400, plane: bool = False) -> np.ndarray:
    """Points in front of the first camera, 4 to 9 away, or on a slanted plane."""
    random = np.random.default_rng(1)
    pixels = random.uniform((20, 20), (WIDTH - 20, HEIGHT - 20), (count, 2))
    z = 6 + (pixels[:, 0] - 240) / 200 if plane else random.uniform(4, 9, count)
    return np.column_stack([(pixels - K[:2, 2]) / 400 * z[:, None], z])


def seen_by(poses: np.ndarray, points: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tracks, visibility, depth, as pinhole cameras see the points."""
    space = points @ poses[:, :3, :3].swapaxes(1, 2) + poses[:, None, :3, 3]
    xy = space[..., :2] / space[..., 2:] * 400 + K[:2, 2]
    inside = (xy > 0).all(-1) & (xy < (WIDTH, HEIGHT)).all(-1) & (space[..., 2] > 0)
    return xy.astype(np.float32), inside, space[..., 2].astype(np.float32)


def angle(a: np.ndarray, b: np.ndarray) -> float:
    """Degrees between the rotations, the largest of all frames."""
    cosine = (np.trace(a[:, :3, :3] @ b[:, :3, :3].swapaxes(1, 2), axis1=1, axis2=2) - 1) / 2
    return float(np.degrees(np.arccos(np.clip(cosine, -1, 1))).max())


def apart(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.linalg.norm(a[:, :3, 3] - b[:, :3, 3], axis=1).max())


def test_a_path_comes_back():
    xy, visible, z = seen_by(WALK, cloud())
    found = camera_from_tracks(xy, visible, z, K)
    assert found.shape == (FRAMES, 4, 4) and (found[0] == np.eye(4)).all()
    assert angle(found, WALK) < 0.01 and apart(found, WALK) < 1e-3


def test_by_hand_a_step_to_the_right_moves_points_to_the_left():
    """One unit to the right at 400 px focal length and z = 4: 100 px to the left."""
    points = np.array([[x, y, 4.0] for x in (-1, 0, 1, 1.5) for y in (-1, 0.2, 1)])
    step = np.stack([np.eye(4), shift(-1, 0, 0)])
    xy, _, _ = seen_by(step, points)
    assert np.allclose(xy[1] - xy[0], (-100, 0), atol=1e-4)
    found = camera_from_tracks(xy, np.ones(xy.shape[:2], bool), np.full(len(points), 4.0), K)
    assert np.allclose(found[1], shift(-1, 0, 0), atol=1e-4)


@pytest.mark.parametrize(
    "poses, plane",
    [
        (path(lambda t: turn("y", 15 * t) @ turn("z", 5 * t)), False),  # a camera that only turns
        (WALK, True),  # a plane
        (path(lambda t: shift(0.01 * t, 0, 0)), False),  # next to nothing
        (np.stack([np.eye(4)] * FRAMES), True),  # nothing at all
    ],
)
def test_special_cases(poses, plane):
    xy, visible, z = seen_by(poses, cloud(plane=plane))
    found = camera_from_tracks(xy, visible, z, K)
    assert angle(found, poses) < 0.05 and apart(found, poses) < 5e-3


def test_noise_and_a_third_of_points_that_move_by_themselves():
    points = cloud(900)
    xy, visible, z = seen_by(WALK, points)
    random = np.random.default_rng(2)
    xy += random.normal(0, 0.3, xy.shape).astype(np.float32)
    xy[:, :300] += np.linspace(0, 40, FRAMES, dtype=np.float32)[:, None, None]
    poses = estimate_poses(xy, visible, z, K)
    assert angle(poses.world_to_camera, WALK) < 0.2
    assert 0.6 < poses.agreeing[-1] < 0.75 and poses.notes == []


def test_points_with_unknown_depth_and_hidden_ones_do_not_count():
    xy, visible, z = seen_by(WALK, cloud())
    z[0, :100], z[0, 100:300] = np.inf, -1
    visible[:, 300:320], xy[:, 320:340] = False, np.nan
    xy[1:, 300:320] += 500
    assert angle(camera_from_tracks(xy, visible, z, K), WALK) < 0.01


def test_each_frame_may_have_its_own_focal_length():
    xy, visible, z = seen_by(WALK, cloud())
    zoom = np.linspace(1, 1.5, FRAMES)
    cameras = np.stack([np.diag((f, f, 1)) @ K for f in zoom])
    zoomed = (xy * zoom[:, None, None]).astype(np.float32)
    assert angle(camera_from_tracks(zoomed, visible, z, cameras), WALK) < 0.01


def test_a_leap_is_found():
    """Further than a search from the pose before it would reach."""
    poses = np.stack([np.eye(4), turn("z", 170) @ shift(0, 0, 1), turn("z", -40) @ turn("y", 20)])
    xy, _, z = seen_by(poses, cloud())
    found = camera_from_tracks(xy, np.ones(xy.shape[:2], bool), z, K)
    assert angle(found, poses) < 0.05


def test_a_small_plane_far_away_does_not_make_the_camera_jump():
    """Two poses explain its picture about equally well, and noise decides between them."""
    random = np.random.default_rng(5)
    pixels = random.uniform((225, 145), (255, 175), (60, 2))
    z = 20 + (pixels[:, 0] - 240) / 15
    points = np.column_stack([(pixels - K[:2, 2]) / 400 * z[:, None], z])
    poses = path(lambda t: turn("y", 2 * t))
    xy, visible, depth = seen_by(poses, points)
    xy += random.normal(0, 0.4, xy.shape).astype(np.float32)
    assert angle(camera_from_tracks(xy, visible, depth, K), poses) < 15


def test_frames_without_points_lie_between_their_neighbours():
    xy, visible, z = seen_by(WALK, cloud())
    visible[4] = visible[8] = False
    poses = estimate_poses(xy, visible, z, K)
    assert angle(poses.world_to_camera[4:5], WALK[4:5]) < 0.1
    assert np.allclose(poses.world_to_camera[8], poses.world_to_camera[7])
    assert "In 2 of 9 frames" in poses.notes[0] and poses.agreeing[4] == 0


def test_points_that_go_all_over_the_place_are_told():
    xy, visible, z = seen_by(WALK, cloud())
    xy[:, 160:] += np.random.default_rng(3).uniform(-60, 60, xy[:, 160:].shape).astype(np.float32)
    poses = estimate_poses(xy, visible, z, K)
    assert angle(poses.world_to_camera, WALK) < 0.1
    assert "uncertain" in poses.notes[0]


@pytest.mark.parametrize(
    "change, said",
    [
        (lambda xy, visible, z: z.__setitem__((0, slice(5, None)), np.nan), "5 points of the first frame"),
        (lambda xy, visible, z: visible.__setitem__(slice(3, None), False), "fewer than half"),
        (lambda xy, visible, z: xy.__setitem__((..., 1), 160), "on one line"),
    ],
)
def test_what_cannot_be_solved_is_told(change, said):
    xy, visible, z = seen_by(WALK, cloud())
    change(xy, visible, z)
    with pytest.raises(UsageError, match=said) as caught:
        camera_from_tracks(xy, visible, z, K)
    assert caught.value.fix
