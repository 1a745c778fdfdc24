"""Camera paths in files: each format read back by a plain parser of its own, and what cannot be read."""

import json

import numpy as np
import pytest

from diffusion_as_shader.shared.camera import (
    Camera,
    Intrinsics,
    camera_path,
    opencv_to_opengl,
    opengl_to_opencv,
    quaternion_to_rotation,
    rotation_to_quaternion,
)
from diffusion_as_shader.shared.camera_files import FORMATS, format_to_write, read_path, write_path
from diffusion_as_shader.shared.camera_motion import motion
from diffusion_as_shader.shared.errors import UsageError

SIZE = (720, 480)
UP = motion("rot x 90", 2)[-1]  # world (z up) to a camera that looks along y
POINT = np.linalg.inv(UP) @ (0.3, -0.2, 4.0, 1.0)  # in the world, before every camera of the path
RE10K_LINE = "{time} 0.5 0.8 0.5 0.5 0 0 1 0 0 {x} 0 1 0 0 0 0 1 0"


def a_path(zoom: float = 0.0):
    """Nine cameras at eighths of eleven frames, with every kind of turn."""
    poses = motion("trans 0.4 0.3 0.2; rot y 40 0 4; rot y -70 4 8; rot x 10; rot z 300", 9) @ UP
    cameras = [Camera(Intrinsics(*SIZE, 600.1 + zoom * i, 600.1 + zoom * i, 351.3 - i, 240.7), pose) for i, pose in enumerate(poses)]
    return camera_path(cameras, 3 + np.arange(9) * (11 / 8), 17.3)


@pytest.mark.parametrize("zoom", [0.0, 12.3])
@pytest.mark.parametrize("name", FORMATS)
def test_round_trip_in_double_precision(tmp_path, name, zoom):
    path, file = a_path(zoom), tmp_path / FORMATS[name].file
    write_path(path, file, name)
    write_path(path, file, name)  # a file of ours is replaced
    again = read_path(file)
    assert np.abs(again.world_to_camera - path.world_to_camera).max() < 1e-14
    assert np.abs(again.K - path.K).max() < 1e-12
    assert (again.width, again.height, again.fps) == (*SIZE, 17.3)
    assert [each.frame for each in again.frames] == [each.frame for each in path.frames]
    assert format_to_write(file) == name
    assert [entry.name for entry in tmp_path.iterdir()] == [file.name]


def expected_pixels(path) -> np.ndarray:
    """POINT through each camera, by the definition: u = fx X / Z + cx."""
    seen = path.world_to_camera @ POINT
    return np.array([(each.fx * x / z + each.cx, each.fy * y / z + each.cy) for each, (x, y, z, _) in zip(path.frames, seen)])


def pixels_of_re10k(file):
    for line in file.read_text().splitlines()[1:]:
        _, fx, fy, cx, cy, zero, nought, *matrix = map(float, line.split())
        assert zero == nought == 0
        x, y, z = np.reshape(matrix, (3, 4)) @ POINT
        yield (fx * x / z + cx) * 720, (fy * y / z + cy) * 480


def pixels_of_colmap(folder):
    """By COLMAP's documentation: X' = q X q* + t, then PINHOLE."""
    rows = [line.split() for line in (folder / "cameras.txt").read_text().splitlines() if not line.startswith("#")]
    cameras = {row[0]: [float(word) for word in row[2:]] for row in rows}
    assert all(row[1] == "PINHOLE" for row in rows) and (folder / "points3D.txt").read_text().startswith("#")
    lines = [line for line in (folder / "images.txt").read_text().split("\n") if not line.startswith("#")]
    for line, points in zip(lines[::2], lines[1::2]):
        assert points == ""
        _, w, *axis, tx, ty, tz, camera, _ = line.split()
        w, axis, point = float(w), np.array(axis, dtype=float), POINT[:3]
        turned = point + 2 * w * np.cross(axis, point) + 2 * np.cross(axis, np.cross(axis, point))
        x, y, z = turned + np.array([tx, ty, tz], dtype=float)
        width, height, fx, fy, cx, cy = cameras[camera]
        assert (width, height) == SIZE
        yield fx * x / z + cx, fy * y / z + cy


def pixels_of_nerfstudio(file):
    """By nerfstudio's documentation: camera-to-world, x right, y up, looking along -z."""
    whole = json.loads(file.read_text())
    assert (whole["w"], whole["h"]) == SIZE
    for frame in whole["frames"]:
        matrix, held = np.array(frame["transform_matrix"]), {**whole, **frame}
        right, up, back = matrix[:3, :3].T @ (POINT[:3] - matrix[:3, 3])
        yield held["fl_x"] * right / -back + held["cx"], held["cy"] - held["fl_y"] * up / -back


def pixels_of_npz(file):
    with np.load(file) as held:
        assert (int(held["width"]), int(held["height"]), float(held["fps"])) == (*SIZE, 17.3)
        for matrix, K in zip(held["world_to_camera"], held["K"]):
            u, v, z = K @ (matrix @ POINT)[:3]
            yield u / z, v / z


def pixels_of_json(file):
    for each in json.loads(file.read_text())["frames"]:
        x, y, z, _ = np.array(each["world_to_camera"]) @ POINT
        yield each["fx"] * x / z + each["cx"], each["fy"] * y / z + each["cy"]


READERS = {"json": pixels_of_json, "re10k": pixels_of_re10k, "colmap": pixels_of_colmap, "nerfstudio": pixels_of_nerfstudio, "npz": pixels_of_npz}


@pytest.mark.parametrize("zoom", [0.0, 12.3])
@pytest.mark.parametrize("name", FORMATS)
def test_a_reader_that_knows_only_the_format_projects_the_same(tmp_path, name, zoom):
    path, file = a_path(zoom), tmp_path / FORMATS[name].file
    write_path(path, file, name)
    assert np.abs(np.array(list(READERS[name](file))) - expected_pixels(path)).max() < 1e-9


def test_quaternions_of_every_angle():
    quaternions = np.random.default_rng(0).normal(size=(200, 4))
    quaternions[:4] = np.eye(4)  # half turns, where formulas by the trace divide by zero
    quaternions /= np.linalg.norm(quaternions, axis=1, keepdims=True)
    again = rotation_to_quaternion(quaternion_to_rotation(quaternions))
    assert np.allclose(np.abs((again * quaternions).sum(axis=1)), 1)
    assert np.allclose(rotation_to_quaternion(np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]])), [np.sqrt(0.5), 0, 0, np.sqrt(0.5)])


def test_opengl_axes():
    assert np.allclose(opencv_to_opengl(np.eye(4)), np.diag([1, -1, -1, 1]))
    pose = a_path().world_to_camera[3]
    assert np.allclose(opengl_to_opencv(opencv_to_opengl(pose)), pose)


def test_realestate10k_of_others(tmp_path):
    """Times at 25 a second; the frames count from 1, and the size must be given."""
    file = tmp_path / "clip.txt"
    lines = ["https://example.org/watch?v=1", *(RE10K_LINE.format(time=40000 * index + 7, x=index) for index in range(4))]
    file.write_text("\n".join(lines))
    with pytest.raises(UsageError, match="does not say its picture's size") as caught:
        read_path(file)
    assert "--size" in caught.value.fix
    path = read_path(file, size=(1000, 500))
    assert path.fps == pytest.approx(25) and [each.frame for each in path.frames] == [1, 2, 3, 4]
    assert np.allclose(path.K[0], [[500, 0, 500], [0, 400, 250], [0, 0, 1]])
    assert np.allclose(path.world_to_camera[:, 0, 3], [0, 1, 2, 3])


def test_nerfstudio_of_others_is_ordered_by_name(tmp_path):
    frames = [{"file_path": f"images/frame_{n}.png", "transform_matrix": motion(f"trans {n} 0 0", 2)[-1].tolist()} for n in (10, 2)]
    (tmp_path / "transforms.json").write_text(json.dumps({"fl_x": 500, "w": 640, "h": 360, "frames": frames}))
    path = read_path(tmp_path / "transforms.json")
    assert np.allclose(path.world_to_camera[:, 0, 3], [-2, -10])
    assert np.allclose(path.K[0], [[500, 0, 320], [0, 500, 180], [0, 0, 1]])


def test_colmap_of_others(tmp_path):
    (tmp_path / "cameras.txt").write_text("# a\n3 SIMPLE_PINHOLE 640 360 500 320 180\n")
    (tmp_path / "images.txt").write_text("2 1 0 0 0 5 0 0 3 im 10.png\n1 2 -1 3 4 -1\n9 2 0 0 0 4 0 0 3 im 9.png\n\n")
    path = read_path(tmp_path)
    assert np.allclose(path.world_to_camera[:, 0, 3], [4, 5]) and [each.frame for each in path.frames] == [1, 2]
    assert path.K[0].tolist() == [[500, 0, 320], [0, 500, 180], [0, 0, 1]]


def changed(path, **arrays):
    """An npz of a path with some arrays changed."""
    held = {"world_to_camera": path.world_to_camera, "K": path.K, "width": 720, "height": 480}
    return {**held, **arrays}


@pytest.mark.parametrize(
    "change, what",
    [
        ({"world_to_camera": np.full((9, 4, 4), np.nan)}, "frame 1 has a number that is not finite"),
        ({"world_to_camera": np.tile(np.eye(4) * 2, (9, 1, 1))}, "matrix of frame 1 is not a rotation"),
        ({"world_to_camera": np.tile(np.diag([1.0, 1, -1, 1]), (9, 1, 1))}, "matrix of frame 1 is not a rotation"),
        ({"world_to_camera": np.zeros((0, 4, 4)), "K": np.zeros((0, 3, 3))}, "no cameras"),
        ({"K": np.tile(np.eye(3), (8, 1, 1))}, "9 frames, 9 poses and 8 intrinsics"),
        ({"K": np.tile(-np.eye(3), (9, 1, 1))}, "focal length"),
        ({"K": np.tile([[500, 1, 360], [0, 500, 240], [0, 0, 1]], (9, 1, 1))}, "skew"),
        ({"frames": np.arange(9)[::-1]}, "do not rise"),
        ({"fps": 0}, "impossible"),
    ],
)
def test_impossible_cameras(tmp_path, change, what):
    np.savez(tmp_path / "camera.npz", **changed(a_path(), **change))
    with pytest.raises(UsageError, match=what) as caught:
        read_path(tmp_path / "camera.npz")
    assert caught.value.fix


@pytest.mark.parametrize(
    "name, content, what",
    [
        ("camera.json", "{}", "no usable camera path"),
        ("camera.json", '{"transform_matrix": 1}', "no transforms.json"),
        ("transforms.json", '{"frames": [], "w": 4, "h": 4, "transform_matrix": 0}', "no cameras"),
        ("transforms.json", '{"frames": [{"transform_matrix": []}], "w": 4, "h": 4, "fl_x": 3}', "no invertible 4x4"),
        ("transforms.json", '{"frames": [{"transform_matrix": []}], "w": 4, "h": 4}', "no fl_x"),
        ("transforms.json", '{"frames": [{"transform_matrix": []}], "w": 4, "h": 4, "k1": 0.1}', "distortion"),
        ("clip.txt", "url\n" + RE10K_LINE.format(time=0, x=0) + "\n1 2 3\n", "line 3 has 3 values instead of 19"),
        ("clip.txt", "url\n" + RE10K_LINE.format(time=0, x="zero"), "in line 2 'zero' is no number"),
        ("clip.txt", "url\n" + RE10K_LINE.format(time=0, x="inf"), "line 2 has a number that is not finite"),
        ("clip.txt", "", "no cameras"),
        ("camera.npz", "no zip", "cannot be read as npz"),
        ("camera.abc", "", "does not say its format"),
    ],
)
def test_malformed_files(tmp_path, name, content, what):
    (tmp_path / name).write_text(content)
    with pytest.raises(UsageError, match=what) as caught:
        read_path(tmp_path / name, size=None if name == "camera.abc" else (4, 4))
    assert caught.value.exit_code == 2 and caught.value.fix


@pytest.mark.parametrize(
    "cameras, images, what",
    [
        ("1 OPENCV 4 4 1 1 2 2 0 0 0 0", "", "camera model 'OPENCV' is not supported"),
        ("1 PINHOLE 4 4 1 1 2", "", "5 values after PINHOLE instead of 6"),
        ("1 PINHOLE 4 4 1 1 2 2", "# c\n1 1 0 0 0 0 0 1", "line 2 has 8 values"),
        ("1 PINHOLE 4 4 1 1 2 2", "1 0 0 0 0 0 0 0 1 a.png", "quaternion of line 1"),
        ("1 PINHOLE 4 4 1 1 2 2", "1 1 0 0 0 0 0 0 2 a.png", "camera of a.png is not in"),
        ("1 PINHOLE 4 4 1 1 2 2", "", "no images"),
        (None, "", "no cameras.txt"),
    ],
)
def test_malformed_colmap(tmp_path, cameras, images, what):
    if cameras is not None:
        (tmp_path / "cameras.txt").write_text(cameras)
    (tmp_path / "images.txt").write_text(images)
    with pytest.raises(UsageError, match=what):
        read_path(tmp_path)


def test_formats_and_sizes_that_are_wrong(tmp_path):
    path = a_path()
    with pytest.raises(UsageError, match="'colmp' is no camera path format") as caught:
        write_path(path, tmp_path / "x", "colmp")
    assert "colmap" in caught.value.fix
    write_path(path, tmp_path / "camera.json")
    with pytest.raises(UsageError, match="for 720x480, not for 640x480"):
        read_path(tmp_path / "camera.json", size=(640, 480))
    with pytest.raises(UsageError, match="no camera path at"):
        read_path(tmp_path / "other.json")


def test_what_is_not_ours_is_not_replaced(tmp_path):
    model = tmp_path / "model"
    model.mkdir()
    for name in ("cameras.txt", "images.txt", "points3D.txt"):
        (model / name).write_text("# a reconstruction\n")
    with pytest.raises(UsageError, match="something else"):
        write_path(a_path(), model, "colmap")
    assert (model / "points3D.txt").read_text() == "# a reconstruction\n"
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        write_path(a_path(), tmp_path / "file" / "camera.npz")
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["file", "model"]
