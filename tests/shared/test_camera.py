"""Cameras: axis conversions, the window that an engine sees, camera.json."""

import numpy as np
import pytest

from diffusion_as_shader.shared import camera
from diffusion_as_shader.shared.camera import Camera, Intrinsics
from diffusion_as_shader.shared.errors import UsageError

WIDE = Intrinsics(1280, 720, 1500.0, 1500.0, 640.0, 360.0)
SHIFTED_ANAMORPHIC = Intrinsics(1000, 800, 900.0, 450.0, 430.0, 410.0)


def turned(angle: float, position) -> np.ndarray:
    """world_to_camera of a camera turned about y."""
    pose = np.eye(4)
    pose[:3, :3] = [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    pose[:3, 3] = -pose[:3, :3] @ position
    return pose


def test_a_camera_at_rest_in_blender_looks_down():
    pose = camera.blender_to_opencv(np.eye(4))
    assert np.allclose(pose @ [0, 0, -5, 1], [0, 0, 5, 1])  # in front of it, depth 5
    assert np.allclose(pose @ [0, 1, -5, 1], [0, -1, 5, 1])  # Blender's up is up in the picture


def test_blender_and_opencv_are_inverse_and_scale_is_ignored():
    matrix = np.linalg.inv(turned(0.7, [1.0, -2.0, 3.0]))
    scaled = matrix @ np.diag([2.0, 3.0, 0.5, 1.0])
    assert np.allclose(camera.opencv_to_blender(camera.blender_to_opencv(scaled)), matrix)


@pytest.mark.parametrize("view", [WIDE, SHIFTED_ANAMORPHIC])
@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(720, 480), (480, 720), (512, 512)])
def test_a_window_is_the_view_scaled_evenly_and_centred(view, fit, size):
    """A direction's place in the window is its place in the square-pixelled view times one factor, centres matched."""
    window = camera.fit_window(view, *size, fit)
    square = np.array([1.0, view.fx / view.fy])
    view_size = np.array([view.width, view.height]) * square
    rays = np.array([[-0.2, 0.1], [0.3, 0.25], [0.0, 0.0]])
    in_view = (rays * (view.fx, view.fy) + (view.cx, view.cy)) * square - view_size / 2
    in_window = rays * (window.fx, window.fy) + (window.cx, window.cy) - np.array(size) / 2
    factors = np.array(size) / view_size
    assert window.fx == window.fy
    assert np.allclose(in_window, in_view * (factors.max() if fit == "crop" else factors.min()))


@pytest.mark.parametrize("view", [WIDE, SHIFTED_ANAMORPHIC])
@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("size", [(720, 480), (480, 720)])
def test_a_window_says_its_view_again(view, fit, size):
    window = camera.fit_window(view, *size, fit)
    again = camera.unfit_window(window, view.width, view.height, view.fx / view.fy, fit)
    assert (again.width, again.height) == (view.width, view.height) and np.allclose(again.matrix, view.matrix)


def test_only_a_padded_window_has_margins():
    assert camera.view_rectangle(WIDE, 720, 480, "crop") is None
    assert camera.view_rectangle(WIDE, 1280, 720, "pad") is None
    assert np.allclose(camera.view_rectangle(WIDE, 720, 480, "pad"), (0, 37.5, 720, 442.5))
    padded = Camera(Intrinsics(720, 480, 800.0, 800.0, 360.0, 240.0), np.eye(4), visible=(0, 37.5, 720, 442.5))
    shown = camera.shown_pixels(padded)
    assert shown[37:442].all() and not shown[:37].any() and not shown[443:].any()


def test_projecting_by_hand():
    seen_by = Camera(Intrinsics(720, 480, 500.0, 400.0, 360.0, 240.0), turned(0.0, [1.0, 2.0, 3.0]))
    pixels, depth = camera.project(np.array([[2.0, 1.0, 7.0]]), seen_by)
    assert np.allclose(pixels, [[360 + 500 / 4, 240 - 400 / 4]]) and np.allclose(depth, 4)
    assert np.allclose(seen_by.centre, [1, 2, 3])


def test_f32_points_far_from_the_origin_project_as_exactly_as_they_are_stored():
    centre = np.array([4e5, -3e5, 1e5])
    seen_by = Camera(Intrinsics(720, 480, 800.0, 800.0, 360.0, 240.0), turned(0.4, centre))
    points = (centre + np.random.default_rng(0).uniform(2, 9, (100, 3))).astype(np.float32)
    exact, depth = camera.project(points.astype(np.float64), seen_by)
    near_the_window = (depth > 1) & (np.abs(exact) < 2000).all(axis=1)
    assert near_the_window.sum() > 20
    assert np.abs(camera.project(points, seen_by)[0] - exact)[near_the_window].max() < 0.01


def test_camera_path_round_trip(tmp_path):
    cameras = [Camera(WIDE, turned(angle, [angle, 0.0, 1.0])) for angle in (0.0, 0.5, 1.0)]
    path = camera.camera_path(cameras, np.array([1.0, 1.5, 2.0]), 12.0)
    camera.write_camera_path(path, tmp_path / "camera.json")
    again = camera.read_camera_path(tmp_path / "camera.json")
    assert (again.width, again.height, again.fps, again.frames[1].frame) == (1280, 720, 12.0, 1.5)
    assert np.allclose(again.world_to_camera[2], cameras[2].world_to_camera)
    assert np.allclose(np.array(again.frames[2].relative) @ cameras[0].world_to_camera, cameras[2].world_to_camera)
    assert np.allclose(again.K[0], WIDE.matrix)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["camera.json"]


@pytest.mark.parametrize("content", [b"{}", b"no json", b"\xff\xfe"])
def test_what_is_no_camera_path_is_said(tmp_path, content):
    (tmp_path / "camera.json").write_bytes(content)
    with pytest.raises(UsageError, match="is not a camera path"):
        camera.read_camera_path(tmp_path / "camera.json")
    with pytest.raises(UsageError, match="no camera path"):
        camera.read_camera_path(tmp_path / "other.json")
