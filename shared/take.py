"""The take folder: the whole truth about one generation, on disk.

take.json        TakeRecord: request, state, versions, hashes, timings, chosen fallbacks
camera.json      shared.camera.CameraPath
objects.json     the objects' names by their numbers, where a scene was captured
first_frame.png  u8 [H,W,3] sRGB
tracking/0001.png ...   the tracking video
signals.npz      valid, rest, object, depth (absent where a take was made from videos)
coordinates/ depth/ mattes/ flow/ tracks.npz tracking.mkv   on request (docs/signals.md)
candidates/0001.png ...  of a repainted first frame, to choose from
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
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, Protocol

import msgspec
import numpy as np

from .camera import CameraPath, read_camera_path, write_camera_path
from .control_score import ControlScore
from .errors import DasError, GenerationError, UsageError
from .files import becoming
from .request import GenerationRequest
from .signal_file import reading_arrays, writing_arrays
from .stacks import Stack
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

    def writing_video(self, file: Path, frames: list[Path], fps: float) -> Iterator[None]:
        """As :meth:`write_video`, in as many steps as it takes."""


class Failure(msgspec.Struct, kw_only=True):
    """Why a take failed, as the user was told."""

    kind: str
    message: str
    fix: str = ""


class TakeRecord(msgspec.Struct, kw_only=True):
    """take.json. ``notes`` says every chosen fallback, ``used`` the signals that the engine used.
    ``score`` is how well its results keep to its motion, None where that was not measured."""

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
    score: ControlScore | None = None


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
        return self.read_picture(self.folder / "first_frame.png")

    def read_tracking(self) -> np.ndarray:
        """u8 [T,H,W,3]."""
        return np.stack([self.read_picture(self.tracking_file(index)) for index in range(self.record.request.frames)])

    def read_signals(self) -> dict[str, np.ndarray]:
        """All that an engine may use (DESIGN's table): tracking and first_frame always, the rest where it is there."""
        signals: dict[str, np.ndarray] = {}
        for _ in self.reading_signals(signals):
            pass
        return signals

    def reading_signals(self, signals: dict[str, np.ndarray]) -> Iterator[tuple[int, int]]:
        """As :meth:`read_signals` into ``signals``, a frame of one signal at a time: how many are read, and of how many."""
        request = self.record.request
        tracking = signals["tracking"] = np.empty((request.frames, request.height, request.width, 3), np.uint8)
        total = request.frames
        for index in range(request.frames):
            tracking[index] = self.read_picture(self.tracking_file(index))
            yield index + 1, total
        signals["first_frame"] = self.read_first_frame()
        if self.has_signals:
            for done, count in reading_arrays(self.folder / "signals.npz", SIGNAL_NAMES, signals):
                yield total + done, total + count
        if (self.folder / "camera.json").exists():
            path = self.read_camera_path()
            signals.update(K=path.K, world_to_camera=path.world_to_camera)

    def read_picture(self, file: Path) -> np.ndarray:
        """u8 [H,W,3] of a file of the take; UsageError where it has another size."""
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
        self.write_file("take.json", msgspec.json.format(msgspec.json.encode(self.record), indent=1))

    def set_state(self, state: State, failure: Failure | None = None) -> None:
        """The one place where a take's state changes."""
        self.record.state, self.record.failure = state, failure
        self.save()

    def note(self, sentence: str) -> None:
        """A chosen fallback, said once."""
        if sentence not in self.record.notes:
            self.record.notes.append(sentence)

    def write_camera_path(self, path: CameraPath) -> None:
        with self._guarded():
            write_camera_path(path, self.folder / "camera.json")

    def write_objects(self, names: list[str]) -> None:
        """objects.json: the names of the signal ``object``'s numbers, which begin at 1."""
        content = {str(number): name for number, name in enumerate(names, start=1)}
        self.write_file("objects.json", msgspec.json.format(msgspec.json.encode(content), indent=1))

    def write_first_frame(self, pixels: np.ndarray) -> None:
        self.record.hashes["first_frame"] = content_hash(pixels)
        self._write_image(self.folder / "first_frame.png", pixels)

    def write_tracking_frame(self, index: int, pixels: np.ndarray) -> None:
        self._write_image(self.tracking_file(index), pixels)

    def candidate_file(self, number: int) -> Path:
        """The file of a repainted first frame, counted from 1."""
        return self.folder / "candidates" / f"{number:04d}.png"

    def write_candidate(self, number: int, pixels: np.ndarray) -> None:
        self._write_image(self.candidate_file(number), pixels)

    def write_frame(self, index: int, pixels: np.ndarray) -> Path:
        """Result ``index`` (from 0), u8 [H,W,3]; its file."""
        self._write_image(self.frame_file(index), pixels)
        return self.frame_file(index)

    def write_file(self, name: str, content: bytes) -> None:
        """Any file of the take, ``name`` relative to its folder."""
        with self._whole(self.folder / name) as partial:
            partial.write_bytes(content)

    def stack(self, stacks: dict[str, Stack], pictures: Mapping[str, np.ndarray]) -> None:
        """Put the next frame's pictures on stacks [T,...] on disk, which the first frame makes."""
        with self._guarded():
            for name, picture in pictures.items():
                if name not in stacks:
                    stacks[name] = Stack(self.folder, self.record.request.frames, picture)
                stacks[name].append(picture)

    def write_signals(self, signals: Mapping[str, np.ndarray | Stack]) -> None:
        """signals.npz (:mod:`signal_file`)."""
        for _ in self.writing_signals(signals):
            pass

    def writing_signals(self, signals: Mapping[str, np.ndarray | Stack]) -> Iterator[tuple[int, int]]:
        """As :meth:`write_signals`, a frame of one signal at a time: how many are written, and of how many."""
        chosen = {name: signals[name] for name in SIGNAL_NAMES if name in signals}
        with self._whole(self.folder / "signals.npz") as partial:
            yield from writing_arrays(partial, chosen)

    def write_video(self) -> Path:
        """video.mp4 from the frames that are there, at the rate that keeps the range's duration."""
        for _ in self.writing_video():
            pass
        return self.video

    def writing_video(self) -> Iterator[None]:
        """As :meth:`write_video`, in steps."""
        request = self.record.request
        files = [self.frame_file(index) for index in range(request.frames) if self.frame_file(index).exists()]
        fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
        with self._guarded():
            yield from self.images.writing_video(self.video, files, fps)

    def _write_image(self, file: Path, pixels: np.ndarray) -> None:
        with self._whole(file) as partial:
            self.images.write(partial, pixels)

    @contextmanager
    def _whole(self, file: Path) -> Iterator[Path]:
        """A name to write under, which becomes ``file`` at the end, or is gone where that is not reached."""
        with self._guarded(), becoming(file) as partial:
            yield partial

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise GenerationError(
                f"{self.folder} cannot be written: {error.strerror or error}.", "Free some space or check the folder's permissions."
            ) from error


def new_take_folder(parent: Path, name: str, used: Iterable[str] = ()) -> Path:
    """The next of ``name``-001, -002 ... in ``parent``, made at once, so that two processes never share one. It comes after
    those that are there and after the names ``used``, of takes that may be in the trash."""
    pattern = re.compile(re.escape(name) + r"-(\d+)")
    try:
        parent.mkdir(parents=True, exist_ok=True)
        names = [*(entry.name for entry in parent.iterdir()), *used]
        numbers = [int(match[1]) for one in names if (match := pattern.fullmatch(one))]
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


class ContentHash:
    """sha256 of an array's bytes, shape and type, which grows by one ``array[i]`` after the other."""

    def __init__(self, dtype: np.dtype, shape: tuple[int, ...]):
        self._digest = hashlib.sha256(f"{np.dtype(dtype).str}{shape}".encode())

    def add(self, part: np.ndarray) -> None:
        self._digest.update(np.ascontiguousarray(part).data)

    @property
    def text(self) -> str:
        return self._digest.hexdigest()


def content_hash(array: np.ndarray | Stack) -> str:
    """:class:`ContentHash` of a whole array."""
    growing = ContentHash(array.dtype, array.shape)
    for part in array:
        growing.add(part)
    return growing.text


def failure_of(error: DasError, kind: str) -> Failure:
    return Failure(kind=kind, message=error.message, fix=error.fix)
