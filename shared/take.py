"""The take folder: the whole truth about one generation, on disk.

take.json        TakeRecord: request, state, versions, hashes, timings, chosen fallbacks
camera.json      shared.camera.CameraPath
first_frame.png  u8 [H,W,3] sRGB
tracking/0001.png ...   the tracking video
signals.npz      valid, rest, object, depth (absent where a take was made from videos)
frames/0001.png ...     the results, as they arrive
video.mp4        the results, for people

Every file is written beside its final name and then moved there: a final name is never half-written.
"""

from __future__ import annotations

import datetime
import hashlib
import itertools
import re
import uuid
import zipfile
from contextlib import suppress
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np

from .camera import CameraPath, read_camera_path, write_camera_path
from .errors import DasError, GenerationError, UsageError
from .request import GenerationRequest
from .timeline import video_fps

State = Literal["prepared", "queued", "running", "done", "failed", "cancelled"]
SIGNAL_NAMES = ("valid", "rest", "object", "depth")


class Images(Protocol):
    """How a room reads and writes pictures: by Blender where it is there, by imageio elsewhere."""

    def read(self, file: Path) -> np.ndarray:
        """u8 [H,W,3] sRGB; UsageError where the file is missing or no image."""

    def write(self, file: Path, pixels: np.ndarray) -> None:
        """An exact 8-bit PNG of u8 [H,W,3]; ``file`` may end in .partial, the format is PNG all the same."""

    def write_video(self, file: Path, frames: list[Path], fps: float) -> None:
        """H.264 for people; whole or not at all."""


class Failure(msgspec.Struct, kw_only=True):
    """Why a take failed, as the user was told."""

    kind: str
    message: str
    fix: str = ""


class TakeRecord(msgspec.Struct, kw_only=True):
    """take.json. ``notes`` says every chosen fallback, ``used`` the signals that the engine used."""

    version: int = 1
    job: str
    state: State = "prepared"
    request: GenerationRequest
    created: str
    scene: str = ""
    versions: dict[str, str] = {}
    hashes: dict[str, str] = {}
    timings: dict[str, float] = {}
    notes: list[str] = []
    used: list[str] = []
    failure: Failure | None = None


class Take:
    """An open take folder. Pictures go through ``images``; every write is atomic."""

    def __init__(self, folder: Path, record: TakeRecord, images: Images):
        self.folder = folder
        self.record = record
        self.images = images

    @classmethod
    def create(cls, folder: Path, request: GenerationRequest, images: Images, scene: str = "") -> Take:
        """A new take in a new or empty folder; UsageError where it holds anything or cannot be written."""
        folder = Path(folder)
        created = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
        record = TakeRecord(job=uuid.uuid4().hex, request=request, created=created, scene=scene)
        take = cls(folder, record, images)
        make_empty_folder(folder, "take folder")
        try:
            take.save()
        except GenerationError as error:
            raise UsageError(error.message, "Choose another folder with -o, or free some space.") from None
        return take

    @classmethod
    def open(cls, folder: Path, images: Images) -> Take:
        """An existing take; UsageError where there is none or its record cannot be read."""
        file = Path(folder) / "take.json"
        try:
            record = msgspec.json.decode(file.read_bytes(), type=TakeRecord)
        except (FileNotFoundError, NotADirectoryError):
            raise UsageError(f"{folder} is no take folder: it has no take.json.", "Give the folder that das track wrote.") from None
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise UsageError(f"{file} cannot be read: {error}.", "Make the take again.") from None
        return cls(Path(folder), record, images)

    def discard(self) -> None:
        """Remove a new take that never got anything: its record and its folder."""
        (self.folder / "take.json").unlink(missing_ok=True)
        if next(self.folder.iterdir(), None) is None:
            self.folder.rmdir()

    # what it holds

    @property
    def video(self) -> Path:
        return self.folder / "video.mp4"

    @property
    def has_signals(self) -> bool:
        return (self.folder / "signals.npz").exists()

    def tracking_file(self, index: int) -> Path:
        return self.folder / "tracking" / f"{index + 1:04d}.png"

    def frame_file(self, index: int) -> Path:
        """The file of result ``index``, counted from 0; the first is frames/0001.png."""
        return self.folder / "frames" / f"{index + 1:04d}.png"

    def missing_frames(self) -> list[int]:
        """The results that have not arrived."""
        return [index for index in range(self.record.request.frames) if not self.frame_file(index).exists()]

    def read_camera_path(self) -> CameraPath:
        return read_camera_path(self.folder / "camera.json")

    def read_first_frame(self) -> np.ndarray:
        """u8 [H,W,3], of the request's size."""
        return self._checked(self.folder / "first_frame.png")

    def read_tracking(self) -> np.ndarray:
        """u8 [T,H,W,3]."""
        return np.stack([self._checked(self.tracking_file(index)) for index in range(self.record.request.frames)])

    def read_signals(self) -> dict[str, np.ndarray]:
        """All that an engine may use (DESIGN's table): tracking and first_frame always, the rest where it is there."""
        signals = {"tracking": self.read_tracking(), "first_frame": self.read_first_frame()}
        if self.has_signals:
            with np.load(self.folder / "signals.npz", allow_pickle=False) as stored:
                signals.update({name: stored[name] for name in SIGNAL_NAMES if name in stored})
        if (self.folder / "camera.json").exists():
            path = self.read_camera_path()
            signals.update(K=path.K, world_to_camera=path.world_to_camera)
        return signals

    def _checked(self, file: Path) -> np.ndarray:
        pixels, request = self.images.read(file), self.record.request
        if pixels.shape != (request.height, request.width, 3):
            height, width = pixels.shape[:2]
            raise UsageError(
                f"{file} is {width}x{height}, the take is {request.width}x{request.height}.",
                "Give a picture of the take's size.",
            )
        return pixels

    # what is written into it

    def save(self) -> None:
        """take.json as the record stands."""
        content = msgspec.json.format(msgspec.json.encode(self.record), indent=1)
        self._write(self.folder / "take.json", lambda partial: partial.write_bytes(content))

    def set_state(self, state: State, failure: Failure | None = None) -> None:
        """The one place where a take's state changes."""
        self.record.state, self.record.failure = state, failure
        self.save()

    def note(self, sentence: str) -> None:
        """A chosen fallback, said once."""
        if sentence not in self.record.notes:
            self.record.notes.append(sentence)

    def write_camera_path(self, path: CameraPath) -> None:
        self._guarded(lambda: write_camera_path(path, self.folder / "camera.json"))

    def write_first_frame(self, pixels: np.ndarray) -> None:
        self.record.hashes["first_frame"] = content_hash(pixels)
        self._write_image(self.folder / "first_frame.png", pixels)

    def write_tracking_frame(self, index: int, pixels: np.ndarray) -> None:
        self._write_image(self.tracking_file(index), pixels)

    def write_frame(self, index: int, pixels: np.ndarray) -> Path:
        """Result ``index`` (from 0), u8 [H,W,3]; its file."""
        self._write_image(self.frame_file(index), pixels)
        return self.frame_file(index)

    def write_signals(self, signals: dict[str, np.ndarray]) -> None:
        """signals.npz. All but rest shrinks to a tenth in a second; rest, noise to zlib, is stored as it is."""
        chosen = {name: signals[name] for name in SIGNAL_NAMES if name in signals}

        def save(partial: Path) -> None:
            # Not np.savez: on a full disk it leaves a ZipFile behind that prints a traceback when it is collected.
            with zipfile.ZipFile(partial, "w", compresslevel=1) as archive:
                for name, array in chosen.items():
                    archive.compression = zipfile.ZIP_STORED if name == "rest" else zipfile.ZIP_DEFLATED
                    with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                        np.lib.format.write_array(entry, array, allow_pickle=False)

        self._write(self.folder / "signals.npz", save)

    def write_video(self) -> Path:
        """video.mp4 from the frames that are there, at the rate that keeps the range's duration."""
        request = self.record.request
        files = [self.frame_file(index) for index in range(request.frames) if self.frame_file(index).exists()]
        fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
        self._guarded(lambda: self.images.write_video(self.video, files, fps))
        return self.video

    def _write_image(self, file: Path, pixels: np.ndarray) -> None:
        self._write(file, lambda partial: self.images.write(partial, pixels))

    def _write(self, file: Path, write) -> None:
        partial = file.with_name(file.name + ".partial")

        def whole() -> None:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                write(partial)
                partial.replace(file)
            except BaseException:
                partial.unlink(missing_ok=True)
                raise

        self._guarded(whole)

    def _guarded(self, write) -> None:
        try:
            write()
        except OSError as error:
            raise GenerationError(
                f"{self.folder} cannot be written: {error.strerror or error}.", "Free some space or check the folder's permissions."
            ) from error


def new_take_folder(parent: Path, name: str) -> Path:
    """The next of ``name``-001, -002 ... in ``parent``, made at once, so that two processes never share one."""
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        numbers = [int(match[1]) for entry in parent.iterdir() if (match := pattern.fullmatch(entry.name))]
        for number in itertools.count(max(numbers, default=0) + 1):
            with suppress(FileExistsError):
                folder = parent / f"{name}-{number:03d}"
                folder.mkdir()
                return folder
    except OSError as error:
        raise UsageError(f"No take can be made in {parent}: {error.strerror}.", "Choose another folder with -o.") from None


def make_empty_folder(folder: Path, what: str = "folder") -> None:
    """Make a folder, or take an empty one; UsageError where it holds anything or cannot be made."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        occupied = next(folder.iterdir(), None) is not None
    except OSError as error:
        raise UsageError(f"The {what} {folder} cannot be made: {error.strerror}.", "Choose another with -o.") from None
    if occupied:
        raise UsageError(f"The folder {folder} is not empty.", "Choose a new folder with -o.")


def content_hash(array: np.ndarray) -> str:
    """sha256 of an array's bytes, shape and type."""
    digest = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()


def failure_of(error: DasError, kind: str) -> Failure:
    return Failure(kind=kind, message=error.message, fix=error.fix)
