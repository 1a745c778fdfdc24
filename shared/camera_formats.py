"""The formats of camera paths, each as a pair: ``encode_...(path) -> bytes`` and ``decode_...(file, size) -> CameraPath``.

All hold pinhole cameras without distortion or skew, in the scene's own world (right-handed, Blender's z up) and the
scene's own unit; nothing is scaled or turned. Numbers are written in full double precision. Pixel i covers
[i, i + 1), its centre is i + 0.5, so cx = width / 2 is the middle. COLMAP stands in :mod:`camera_colmap`.
"""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from typing import NamedTuple, Sequence

import msgspec
import numpy as np

from .camera import Camera, CameraPath, Intrinsics, camera_path, opencv_to_opengl, opengl_to_opencv
from .errors import UsageError

Size = tuple[int, int]

FPS_OF_FILES_WITHOUT = 24.0
NOT_RIGID = 1e-3  # files with 4 decimals pass
NOT_PINHOLE = ("k1", "k2", "k3", "k4", "k5", "k6", "p1", "p2", "p3", "p4")
INTRINSICS = ("fl_x", "fl_y", "cx", "cy")
RE10K_COLUMNS = 19
MICROSECONDS = 1_000_000
MINE = "diffusion-as-shader"
STAMP = re.compile(rf"{MINE} size (?P<size>\d+x\d+) fps (?P<fps>\S+) frames (?P<frames>.*)")
ARRAYS = ("world_to_camera", "K", "width", "height", "frames", "fps")


class Stamp(NamedTuple):
    """What RealEstate10K and COLMAP have no columns for, in a line that their readers skip."""

    size: Size
    fps: float
    frames: np.ndarray


def path_of(
    file: Path, size: Size, fps: float, frames: Sequence[float], K: np.ndarray, poses: np.ndarray, places: Sequence[str] | None = None
) -> CameraPath:
    """A path of K [T,3,3] and world_to_camera [T,4,4], checked; ``places`` say where in the file each camera stands.

    UsageError where there is no camera, the counts differ, a number is not finite, a pose is not a rotation and a
    translation, K is not a pinhole's, or the frames do not rise.
    """
    K, poses, frames = (np.asarray(array, dtype=np.float64) for array in (K, poses, list(frames)))
    count = len(frames)
    if not count:
        raise wrong(file, "it holds no cameras", "Give a path of at least one frame.")
    if K.shape != (count, 3, 3) or poses.shape != (count, 4, 4):
        raise wrong(file, f"it has {count} frames, {len(poses)} poses and {len(K)} intrinsics", "Give one 4x4 pose and one 3x3 K for each frame.")
    if min(size) < 1 or not (np.isfinite(fps) and fps > 0):
        raise wrong(file, f"a picture of {size[0]}x{size[1]} at {fps:g} frames a second is impossible", "Give positive numbers.")
    for index in range(count):
        _check_camera(file, places[index] if places else f"frame {index + 1}", K[index], poses[index])
    if not np.isfinite(frames).all() or (np.diff(frames) <= 0).any():
        raise wrong(file, "its frame numbers do not rise", "Sort the cameras by time, one for each moment.")
    cameras = [
        Camera(Intrinsics(*size, *(float(k[row, column]) for row, column in ((0, 0), (1, 1), (0, 2), (1, 2)))), pose)
        for k, pose in zip(K, poses)
    ]
    return camera_path(cameras, frames, float(fps))


def _check_camera(file: Path, place: str, k: np.ndarray, pose: np.ndarray) -> None:
    if not (np.isfinite(k).all() and np.isfinite(pose).all()):
        raise wrong(file, f"{place} has a number that is not finite", "Export the path again.")
    rotation = pose[:3, :3]
    if np.abs(rotation @ rotation.T - np.eye(3)).max() > NOT_RIGID or np.linalg.det(rotation) < 0 or (pose[3] != (0, 0, 0, 1)).any():
        raise wrong(file, f"the matrix of {place} is not a rotation and a translation", "Give right-handed poses without scale.")
    if k[0, 0] <= 0 or k[1, 1] <= 0:
        raise wrong(file, f"{place} has a focal length that is not above 0", "Export the path again.")
    if (k[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]] != (0, 0, 0, 0, 1)).any():
        raise wrong(file, f"{place} has skew", "Give the intrinsics of a pinhole camera: fx, fy, cx, cy.")


def wrong(file: Path, what: str, fix: str) -> UsageError:
    """The error of a file that cannot be read as a path."""
    return UsageError(f"{file} is no usable camera path: {what}.", fix)


def known_size(file: Path, own: Size | None, given: Size | None, format: str) -> Size:
    """The picture's size from the file, else as given; UsageError where there is none, or they differ."""
    if own and given and own != given:
        raise UsageError(f"{file} is a path for {own[0]}x{own[1]}, not for {given[0]}x{given[1]}.", "Leave the size away.")
    if not (own or given):
        raise UsageError(f"{file} does not say its picture's size ({format} has no place for it).", "Give it, for example --size 1280x720.")
    return own or given


def stamp(path: CameraPath) -> str:
    """One line of what a text format lacks: size, rate and scene frames."""
    return f"{MINE} size {path.width}x{path.height} fps {path.fps!r} frames {' '.join(repr(each.frame) for each in path.frames)}"


def read_stamp(text: str, count: int) -> Stamp | None:
    """The stamp of a file of ``count`` cameras; None where it has none, or cameras were added or taken away since."""
    match = STAMP.search(text)
    if not match:
        return None
    try:
        frames = np.array([float(word) for word in match["frames"].split()])
        width, height = match["size"].split("x")
        return Stamp((int(width), int(height)), float(match["fps"]), frames) if len(frames) == count else None
    except ValueError:
        return None


def numbers(file: Path, line: int, words: Sequence[str]) -> list[float]:
    """The numbers of a line of text; UsageError with its number."""
    try:
        return [float(word) for word in words]
    except ValueError:
        bad = next(word for word in words if not _is_number(word))
        raise wrong(file, f"in line {line} '{bad}' is no number", "Export the path again.") from None


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


# the project's own


def encode_json(path: CameraPath) -> bytes:
    """camera.json: OpenCV axes, world_to_camera, intrinsics in pixels; scene frames and the video's rate."""
    return msgspec.json.format(msgspec.json.encode(path), indent=1)


def decode_json(file: Path, size: Size | None) -> CameraPath:
    """The reverse of :func:`encode_json`; ``relative`` is worked out anew."""
    try:
        path = msgspec.json.decode(file.read_bytes(), type=CameraPath)
        poses = path.world_to_camera
    except (msgspec.MsgspecError, UnicodeDecodeError, ValueError) as error:
        raise wrong(file, str(error), "Give a camera.json as das camera writes it.") from None
    if poses.shape[1:] != (4, 4):
        raise wrong(file, "its poses are not 4x4", "Give a camera.json as das camera writes it.")
    size = known_size(file, (path.width, path.height), size, "camera.json")
    return path_of(file, size, path.fps, [each.frame for each in path.frames], path.K, poses)


# RealEstate10K


def encode_re10k(path: CameraPath) -> bytes:
    """RealEstate10K text: a first line that readers skip, then a line a camera of 19 numbers.

    Time in microseconds, fx / width, fy / height, cx / width, cy / height, 0, 0 and the 3x4 world-to-camera matrix
    row by row; OpenCV axes. Time is that of the video. (Zhou et al., Stereo Magnification, 2018.)
    """
    scale = np.array([path.width, path.height, path.width, path.height])
    lines = [stamp(path)]
    for index, each in enumerate(path.frames):
        normalised = np.array([each.fx, each.fy, each.cx, each.cy]) / scale
        values = [*normalised, 0.0, 0.0, *np.array(each.world_to_camera)[:3].ravel()]
        lines.append(" ".join([str(round(index / path.fps * MICROSECONDS)), *(repr(float(value)) for value in values)]))
    return _text(lines)


def decode_re10k(file: Path, size: Size | None) -> CameraPath:
    """The reverse of :func:`encode_re10k`. Without our first line the size must be given, the rate is the mean one
    of the times, and the first camera is at frame 1."""
    lines = list(enumerate(read_text(file).splitlines(), 1))
    first = lines[0][1].split() if lines else []
    headed = not (len(first) == RE10K_COLUMNS and _is_number(first[0]))
    rows = [(number, line.split()) for number, line in lines[headed:] if line.strip()]
    for number, words in rows:
        if len(words) != RE10K_COLUMNS:
            raise wrong(file, f"line {number} has {len(words)} values instead of {RE10K_COLUMNS}", "Give RealEstate10K text, or name the format with --format.")
    values = np.array([numbers(file, number, words) for number, words in rows]).reshape(-1, RE10K_COLUMNS)
    if values[:, 5:7].any():
        raise wrong(file, "it has lens distortion (columns 6 and 7)", "Undistort the pictures, and give the path of the pinhole camera.")
    known = read_stamp(lines[0][1], len(rows)) if lines else None
    width, height = known_size(file, known and known.size, size, "RealEstate10K")
    fps, frames = (known.fps, known.frames) if known else _timing(file, values[:, 0])
    K = np.tile(np.eye(3), (len(rows), 1, 1))
    K[:, [0, 1, 0, 1], [0, 1, 2, 2]] = values[:, 1:5] * (width, height, width, height)
    poses = np.tile(np.eye(4), (len(rows), 1, 1))
    poses[:, :3] = values[:, 7:].reshape(-1, 3, 4)
    return path_of(file, (width, height), fps, frames, K, poses, [f"line {number}" for number, _ in rows])


def _timing(file: Path, microseconds: np.ndarray) -> tuple[float, np.ndarray]:
    """Mean rate and frame numbers from 1, whole ones where the times are even."""
    if len(microseconds) < 2:
        return FPS_OF_FILES_WITHOUT, np.arange(1, len(microseconds) + 1)
    seconds = (microseconds - microseconds[0]) / MICROSECONDS
    if not np.isfinite(seconds).all() or seconds[-1] <= 0:
        raise wrong(file, "its times do not rise", "Sort the lines by their first column.")
    fps = (len(seconds) - 1) / seconds[-1]
    frames = 1 + seconds * fps
    whole = np.rint(frames)
    return float(fps), np.where(np.abs(frames - whole) < 1e-3, whole, frames)


# nerfstudio


def encode_nerfstudio(path: CameraPath) -> bytes:
    """transforms.json: camera_to_world in OpenGL axes (x right, y up, looks along -z), world z up; fl_x, fl_y, cx, cy in
    pixels, at the top where they do not change and with each frame where they do.

    ``file_path`` names the results of a take. ``fps`` and each frame's ``frame`` are ours, other readers skip them.
    """
    intrinsics = [dict(zip(INTRINSICS, (each.fx, each.fy, each.cx, each.cy))) for each in path.frames]
    constant = all(each == intrinsics[0] for each in intrinsics)
    top = {"camera_model": "OPENCV", "w": path.width, "h": path.height, "fps": path.fps, "orientation_override": "none"}
    frames = [
        {
            "file_path": f"frames/{index + 1:04d}.png",
            "frame": each.frame,
            **({} if constant else intrinsics[index]),
            "transform_matrix": opencv_to_opengl(each.world_to_camera).tolist(),
        }
        for index, each in enumerate(path.frames)
    ]
    return json.dumps({**top, **(intrinsics[0] if constant else {}), "frames": frames}, indent=1).encode()


def decode_nerfstudio(file: Path, size: Size | None) -> CameraPath:
    """The reverse of :func:`encode_nerfstudio`. Files of others: in the order of their file names, as nerfstudio
    itself reads them, from frame 1; fl_y, cx and cy default to fl_x and the middle."""
    try:
        whole = json.loads(read_text(file))
        timed = all("frame" in each for each in whole["frames"])
        entries = sorted(whole["frames"], key=lambda each: each["frame"] if timed else natural(each.get("file_path", "")))
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError):
        raise wrong(file, "it is no transforms.json with a list of frames", "Export it again.") from None
    places = [f"frames[{index}] ({each.get('file_path', 'without file_path')})" for index, each in enumerate(entries)]
    merged = [{**whole, **each} for each in entries]
    sizes = {(each["w"], each["h"]) for each in merged if "w" in each and "h" in each}
    if len(sizes) > 1:
        raise wrong(file, "its pictures have several sizes", "Give a path whose pictures share one size.")
    size = known_size(file, next(iter(sizes), None), size, "this file")
    K, poses = np.empty((len(merged), 3, 3)), np.empty((len(merged), 4, 4))
    for index, (each, place) in enumerate(zip(merged, places)):
        K[index], poses[index] = _nerfstudio_camera(file, each, size, place)
    frames = [each["frame"] for each in entries] if timed else range(1, len(entries) + 1)
    return path_of(file, size, whole.get("fps", FPS_OF_FILES_WITHOUT), frames, K, poses, places)


def _nerfstudio_camera(file: Path, entry: dict, size: Size, place: str) -> tuple[np.ndarray, np.ndarray]:
    if any(entry.get(name, 0) for name in NOT_PINHOLE) or "FISHEYE" in str(entry.get("camera_model", "")):
        raise wrong(file, f"{place} has lens distortion", "Undistort the pictures, and give the path of the pinhole camera.")
    try:
        fx = float(entry["fl_x"])
        K = [[fx, 0, float(entry.get("cx", size[0] / 2))], [0, float(entry.get("fl_y", fx)), float(entry.get("cy", size[1] / 2))], [0, 0, 1]]
        pose = np.array(entry["transform_matrix"], dtype=np.float64).reshape(4, 4)
        return np.array(K), opengl_to_opencv(pose)
    except KeyError as error:
        raise wrong(file, f"{place} has no {error.args[0]}", "Export it again.") from None
    except (TypeError, ValueError, np.linalg.LinAlgError):
        raise wrong(file, f"{place} has no invertible 4x4 transform_matrix, or intrinsics that are no numbers", "Export it again.") from None


# npz


def encode_npz(path: CameraPath) -> bytes:
    """``world_to_camera`` f64 [T,4,4] and ``K`` f64 [T,3,3] in OpenCV axes and pixels, ``width``, ``height``, ``frames``
    f64 [T] (scene frames) and ``fps``."""
    data = io.BytesIO()
    frames = np.array([each.frame for each in path.frames])
    arrays = (path.world_to_camera, path.K, path.width, path.height, frames, path.fps)
    np.savez(data, **dict(zip(ARRAYS, arrays)))
    return data.getvalue()


def decode_npz(file: Path, size: Size | None) -> CameraPath:
    """The reverse of :func:`encode_npz`; ``frames`` (from 1) and ``fps`` may be missing, and the size where it is given."""
    try:
        with np.load(io.BytesIO(file.read_bytes()), allow_pickle=False) as stored:
            held = {name: stored[name] for name in ARRAYS if name in stored}
        poses, K = (np.asarray(held[name], dtype=np.float64) for name in ("world_to_camera", "K"))
        own = (int(held["width"]), int(held["height"])) if "width" in held and "height" in held else None
        fps = float(held.get("fps", FPS_OF_FILES_WITHOUT))
    except KeyError as error:
        raise wrong(file, f"it has no array {error.args[0]}", f"Give an npz of {', '.join(ARRAYS)}.") from None
    except (ValueError, OSError, TypeError, AttributeError) as error:
        raise wrong(file, f"it cannot be read as npz ({error})", f"Give an npz of {', '.join(ARRAYS)}.") from None
    frames = held.get("frames", np.arange(1, len(poses) + 1))
    return path_of(file, known_size(file, own, size, "this npz"), fps, np.ravel(frames), K, poses)


def natural(name: str) -> list:
    """A key that sorts frame_2 before frame_10."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def read_text(file: Path) -> str:
    """A UTF-8 file; UsageError where it is none."""
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise wrong(file, "it is not text", "Name its format with --format, or export the path again.") from None


def _text(lines: list[str]) -> bytes:
    return ("\n".join(lines) + "\n").encode()
