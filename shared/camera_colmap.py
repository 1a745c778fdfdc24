"""COLMAP's text model: a folder of cameras.txt, images.txt and points3D.txt.

https://colmap.github.io/format.html: PINHOLE cameras with fx, fy, cx, cy in pixels, the middle of the upper left
pixel at (0.5, 0.5); images with world-to-camera as a unit quaternion (w, x, y, z) and a translation, OpenCV axes.
COLMAP has no time: images are ordered by name, ours are named as a take's results are.
"""

from __future__ import annotations

from pathlib import Path
from typing import Iterator

import numpy as np

from .camera import CameraPath, quaternion_to_rotation, rotation_to_quaternion
from .camera_formats import FPS_OF_FILES_WITHOUT, MINE, Size, known_size, natural, numbers, path_of, read_stamp, read_text, stamp, wrong
from .errors import UsageError

CAMERAS, IMAGES, POINTS = "cameras.txt", "images.txt", "points3D.txt"
FOCALS = {"PINHOLE": 2, "SIMPLE_PINHOLE": 1}


def encode_colmap(path: CameraPath) -> dict[str, bytes]:
    """The model's files: one camera for all images, or one for each where the intrinsics change."""
    every = [(each.fx, each.fy, each.cx, each.cy) for each in path.frames]
    cameras = list(dict.fromkeys(every))
    camera_lines = ["# CAMERA_ID, MODEL, WIDTH, HEIGHT, FX, FY, CX, CY"]
    for number, intrinsics in enumerate(cameras, 1):
        camera_lines.append(f"{number} PINHOLE {path.width} {path.height} {_words(intrinsics)}")
    image_lines = [f"# {stamp(path)}", "# IMAGE_ID, QW, QX, QY, QZ, TX, TY, TZ, CAMERA_ID, NAME, then a line of points: none here"]
    for index, (pose, intrinsics) in enumerate(zip(path.world_to_camera, every)):
        place = [*rotation_to_quaternion(pose[:3, :3]), *pose[:3, 3]]
        image_lines += [f"{index + 1} {_words(place)} {cameras.index(intrinsics) + 1} {index + 1:04d}.png", ""]
    points = ["# No points: these cameras come from a scene, not from pictures."]
    return {name: ("\n".join(lines) + "\n").encode() for name, lines in ((CAMERAS, camera_lines), (IMAGES, image_lines), (POINTS, points))}


def decode_colmap(folder: Path, size: Size | None) -> CameraPath:
    """The reverse of :func:`encode_colmap`, for any model of pinhole cameras; without our comment the frames count from 1.

    UsageError where a line is malformed, a camera has distortion, or the pictures have several sizes.
    """
    folder = folder.parent if folder.name in (CAMERAS, IMAGES, POINTS) else folder
    for name in (CAMERAS, IMAGES):
        if not (folder / name).is_file():
            raise wrong(folder, f"it has no {name}", "Give a COLMAP text model (colmap model_converter --output_type TXT).")
    cameras = _read_cameras(folder / CAMERAS)
    images = sorted(_read_images(folder / IMAGES), key=lambda image: natural(image[0]))
    unknown = next((name for name, camera, _ in images if camera not in cameras), None)
    if unknown is not None:
        raise wrong(folder / IMAGES, f"the camera of {unknown} is not in {CAMERAS}", "Export the model again.")
    sizes = {cameras[camera][0] for _, camera, _ in images}
    if len(sizes) > 1:
        raise wrong(folder, "its pictures have several sizes", "Give a path whose pictures share one size.")
    known = read_stamp(read_text(folder / IMAGES), len(images))
    fps, frames = (known.fps, known.frames) if known else (FPS_OF_FILES_WITHOUT, np.arange(1, len(images) + 1))
    if not images:
        raise wrong(folder / IMAGES, "it holds no images", "Give a path of at least one frame.")
    K = np.array([cameras[camera][1] for _, camera, _ in images])
    poses = np.array([pose for *_, pose in images])
    size = known_size(folder, next(iter(sizes)), size, "COLMAP")
    return path_of(folder / IMAGES, size, fps, frames, K, poses, [name for name, *_ in images])


def is_mine(folder: Path) -> bool:
    """Does a folder hold one of our models and nothing else, so that writing it again loses nothing?"""
    names = {entry.name for entry in folder.iterdir()}
    if not names:
        return True
    return names == {CAMERAS, IMAGES, POINTS} and (folder / IMAGES).read_bytes().startswith(f"# {MINE} ".encode())


def _read_cameras(file: Path) -> dict[str, tuple[Size, np.ndarray]]:
    cameras = {}
    for number, line in _lines(file):
        if not line or line.startswith("#"):
            continue
        identity, model, *rest = line.split() + [""] * 2
        rest = [word for word in rest if word]
        if model not in FOCALS:
            raise UsageError(
                f"{file}, line {number}: the camera model '{model}' is not supported, only {' and '.join(FOCALS)}.",
                "Undistort the pictures first (colmap image_undistorter).",
            )
        if len(rest) != 4 + FOCALS[model]:
            raise wrong(file, f"line {number} has {len(rest)} values after {model} instead of {4 + FOCALS[model]}", "Export the model again.")
        width, height, fx, *others = numbers(file, number, rest)
        fy, cx, cy = others if len(others) == 3 else (fx, *others)
        cameras[identity] = (int(width), int(height)), np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    return cameras


def _read_images(file: Path) -> Iterator[tuple[str, str, np.ndarray]]:
    """(name, camera, world_to_camera) of each image. After an image's line comes one of its points, which may be empty."""
    lines = _lines(file)
    for number, line in lines:
        if not line or line.startswith("#"):
            continue
        words = line.split(maxsplit=9)
        if len(words) != 10:
            raise wrong(file, f"line {number} has {len(words)} values instead of 10", "Export the model again.")
        values = np.array(numbers(file, number, words[1:8]))
        if not np.linalg.norm(values[:4]) > 0:
            raise wrong(file, f"the quaternion of line {number} is no rotation", "Export the model again.")
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = quaternion_to_rotation(values[:4]), values[4:]
        next(lines, None)
        yield words[9], words[8], pose


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    return iter([(number, line.strip()) for number, line in enumerate(read_text(file).split("\n"), 1)])


def _words(values) -> str:
    return " ".join(repr(float(value)) for value in values)
