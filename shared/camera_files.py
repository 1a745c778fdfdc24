"""Camera paths in files that other tools read: one ``read_path``, one ``write_path``, five formats.

What each format holds, its axes and what it has no place for stands with its functions in :mod:`camera_formats` and
:mod:`camera_colmap`, and with pictures in docs/camera.md.
"""

from __future__ import annotations

import difflib
import shutil
from pathlib import Path
from typing import Callable, NamedTuple

from . import camera_colmap, camera_formats
from .camera import CameraPath
from .camera_formats import Size
from .errors import UsageError


class PathFormat(NamedTuple):
    """``file`` is the usual name (a folder's where it has no suffix), ``lacks`` one sentence, or nothing."""

    title: str
    file: str
    encode: Callable[[CameraPath], bytes | dict[str, bytes]]
    decode: Callable[[Path, Size | None], CameraPath]
    lacks: str = ""


FORMATS: dict[str, PathFormat] = {
    "json": PathFormat("camera.json", "camera.json", camera_formats.encode_json, camera_formats.decode_json),
    "re10k": PathFormat(
        "RealEstate10K text",
        "camera_re10k.txt",
        camera_formats.encode_re10k,
        camera_formats.decode_re10k,
        "RealEstate10K text has no place for the picture's size and the scene's frame numbers; they stand in its first line, which other readers skip.",
    ),
    "colmap": PathFormat(
        "COLMAP text model",
        "camera_colmap",
        camera_colmap.encode_colmap,
        camera_colmap.decode_colmap,
        "COLMAP has no place for time; frame numbers and rate stand in a comment of images.txt, which other readers skip.",
    ),
    "nerfstudio": PathFormat(
        "nerfstudio transforms.json", "camera_nerfstudio.json", camera_formats.encode_nerfstudio, camera_formats.decode_nerfstudio,
        "nerfstudio has no place for time; fps and frame are keys of our own, which other readers skip.",
    ),
    "npz": PathFormat("numpy npz", "camera.npz", camera_formats.encode_npz, camera_formats.decode_npz),
}  # fmt: skip


def path_format(name: str) -> PathFormat:
    """The format of a name; UsageError with the nearest right ones."""
    if name in FORMATS:
        return FORMATS[name]
    near = difflib.get_close_matches(name.lower(), FORMATS, n=2, cutoff=0.4)
    raise UsageError(f"'{name}' is no camera path format.", f"Use {' or '.join(near)}." if near else f"Use one of {', '.join(FORMATS)}.")


def format_to_write(file: Path) -> str:
    """The format that a file's name means: .json (transforms.json is nerfstudio's), .txt, .npz, or a folder for COLMAP."""
    known = {".json": "json", ".txt": "re10k", ".npz": "npz", "": "colmap"}
    if file.suffix.lower() == ".json" and ("transforms" in file.name or "nerfstudio" in file.name):
        return "nerfstudio"
    if file.suffix.lower() not in known:
        raise UsageError(f"{file.name} does not say its format.", f"Name it with --format: {', '.join(FORMATS)}.")
    return known[file.suffix.lower()]


def format_to_read(file: Path) -> str:
    """The format of an existing file or folder, by its name and, where it is JSON, by what it holds."""
    if file.is_dir() or file.name in (camera_colmap.CAMERAS, camera_colmap.IMAGES):
        return "colmap"
    if file.suffix.lower() == ".json":
        return "nerfstudio" if b'"transform_matrix"' in file.read_bytes() else "json"
    return format_to_write(file)


def read_path(file: Path, format: str | None = None, size: Size | None = None) -> CameraPath:
    """The path in a file (COLMAP: a folder). ``format`` is guessed where it is not given; ``size`` (width, height) is
    for files that do not say their picture's.

    UsageError, with the line or the frame, where it cannot be read, its size is unknown, or it is no path of pinhole cameras.
    """
    if not file.exists():
        raise UsageError(f"There is no camera path at {file}.", "Check its path.")
    try:
        return path_format(format or format_to_read(file)).decode(file, size)
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}.", "Check that it is a file, and its permissions.") from None


def write_path(path: CameraPath, file: Path, format: str | None = None) -> None:
    """Write a path, whole or not at all; ``format`` is guessed from the name where it is not given.

    A file of that name is replaced. A folder (COLMAP) only where it is empty or holds such a model of ours; UsageError
    where it holds anything else, or the place cannot be written.
    """
    content = path_format(format or format_to_write(file)).encode(path)
    partial = file.with_name(file.name + ".partial")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, dict):
            _write_folder(content, file, partial)
        else:
            _write_file(content, file, partial)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.", "Choose another place with -o.") from None


def _write_file(content: bytes, file: Path, partial: Path) -> None:
    try:
        partial.write_bytes(content)
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _write_folder(content: dict[str, bytes], folder: Path, partial: Path) -> None:
    if folder.exists() and not (folder.is_dir() and camera_colmap.is_mine(folder)):
        raise UsageError(f"{folder} holds something else than a camera path of ours.", "Choose a new folder with -o.")
    shutil.rmtree(partial, ignore_errors=True)  # of a process that was killed
    partial.mkdir()
    try:
        for name, data in content.items():
            (partial / name).write_bytes(data)
        if folder.exists():
            shutil.rmtree(folder)
        partial.rename(folder)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
