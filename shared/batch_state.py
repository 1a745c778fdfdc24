"""batch.json: what a batch has made in its folder and of what, so that --resume makes only what is missing or changed."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Literal

import msgspec

from .errors import GenerationError, UsageError
from .files import sha256_of, write_whole
from .processes import pid_alive
from .shots import Capture, PlannedTake
from .take import Failure, TakeRecord

Progress = Literal["waiting", "running", "done", "failed", "cancelled"]
FILE = "batch.json"


class Made(msgspec.Struct, kw_only=True):
    """A capture or a take of the batch. ``print`` is the fingerprint of all it is made from; ``pid`` its process while it runs.

    Of a take made as the best of several, ``best`` is the name of the winner, ``ranking`` all of them and ``why`` a sentence.
    """

    name: str
    print: str
    state: Progress = "waiting"
    began: float = 0.0  # Unix seconds
    seconds: float = 0.0
    pid: int = 0
    findings: list[dict] = []  # of the pre-flight, a capture's
    failure: Failure | None = None
    exit_code: int = 0
    best: str = ""
    ranking: list[dict] = []
    why: str = ""


class BatchState(msgspec.Struct, kw_only=True):
    """The whole of batch.json."""

    version: int = 1
    file: str
    began: float
    pid: int = 0  # of the batch while it runs
    captures: dict[str, Made] = {}
    takes: dict[str, Made] = {}


class Folder:
    """The output folder of a batch: takes by their names, ``captures``, ``replaced``, ``logs``, ``clips``, batch.json and index.html."""

    def __init__(self, path: Path):
        self.path = path

    def take(self, name: str) -> Path:
        return self.path / name

    def capture(self, name: str) -> Path:
        return self.path / "captures" / name

    def log(self, kind: str, name: str) -> Path:
        """Where the program that makes it writes what is not for us."""
        return self.path / "logs" / f"{name.replace('/', ' - ')}.{kind}.log"

    @property
    def page(self) -> Path:
        return self.path / "index.html"

    def read(self) -> BatchState | None:
        """The state of an earlier run, None where there was none. UsageError where it cannot be read."""
        file = self.path / FILE
        try:
            return msgspec.json.decode(file.read_bytes(), type=BatchState)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.MsgspecError) as error:
            raise UsageError(f"{file} cannot be read: {error}.", "Choose another folder with -o.") from None

    def write(self, state: BatchState) -> None:
        """batch.json, whole or not at all."""
        self.write_file(self.path / FILE, msgspec.json.format(msgspec.json.encode(state), indent=1))

    def write_file(self, file: Path, content: bytes) -> None:
        """A file of the batch, whole or not at all."""
        try:
            write_whole(file, content)
        except OSError as error:
            raise GenerationError(f"{file} cannot be written: {error.strerror}.", "Free some space or check the folder's permissions, then go on with --resume.") from None

    def drop_capture(self, name: str) -> None:
        """A capture that is out of date or half made; the takes that have it keep their own."""
        if self.capture(name).exists():
            shutil.rmtree(self.capture(name))

    def set_aside(self, name: str) -> Path | None:
        """Move a take's folder into ``replaced``, where nothing overwrites it; its new place, None where there was nothing."""
        folder = self.take(name)
        if not folder.exists() or (folder.is_dir() and next(folder.iterdir(), None) is None):
            return None
        for number in itertools.count(1):
            place = self.path / "replaced" / f"{name}-{number:03d}"
            if not place.exists():
                place.parent.mkdir(parents=True, exist_ok=True)
                folder.rename(place)
                return place
        raise AssertionError("count() does not end")


def open_folder(path: Path, resume: bool) -> tuple[Folder, BatchState | None]:
    """The folder and what an earlier run left in it. UsageError where it holds a batch and --resume is not given, or anything else."""
    folder = Folder(path)
    state = folder.read() if path.is_dir() else None
    if path.exists() and not path.is_dir():
        raise UsageError(f"{path} is no folder.", "Choose another with -o.")
    if state is None:
        if path.is_dir() and next(path.iterdir(), None) is not None:
            raise UsageError(f"The folder {path} is not empty, and holds no batch.", "Choose a new folder with -o.")
        return folder, None
    if state.pid != os.getpid() and pid_alive(state.pid):
        raise UsageError(f"A batch runs in {path} already, process {state.pid}.", f"Wait for it, or choose another folder with -o. {_no_batch(folder)}")
    if not resume:
        raise UsageError(f"{path} holds a batch already.", "Go on with it by --resume, or choose another folder with -o.")
    return folder, state


def _no_batch(folder: Folder) -> str:
    return f"If that process is another program, set its pid to 0 in {folder.path / FILE}."


def check_ended(folder: Folder, pid: int) -> None:
    """UsageError where a process of an earlier run lives on."""
    if pid_alive(pid):
        raise UsageError(f"The process {pid} of the last batch still works in {folder.path}.", f"Wait for it, or end it. {_no_batch(folder)}")


def capture_print(capture: Capture, hashes: dict[str, str]) -> str:
    """Fingerprint of a capture: its command and the content of every file that it names. ``hashes`` remembers files."""
    return _digest([*capture.words, *(_file_hash(file, hashes) for file in capture.files)])


def take_print(take: PlannedTake, capture: str) -> str:
    """Fingerprint of a take: of its capture, and all that is asked of the generation."""
    return _digest([capture, *take.words, *take.best_of_words])


def is_captured(folder: Path, made: Made | None, fingerprint: str) -> bool:
    """A whole capture of this fingerprint is there."""
    record = read_record(folder)
    return bool(made and made.state == "done" and made.print == fingerprint and record and record.state == "prepared")


def is_made(folder: Path, made: Made | None, fingerprint: str) -> bool:
    """A finished take of this fingerprint is there, with every frame."""
    record = read_record(folder)
    if not (made and made.print == fingerprint and record and record.state == "done" and (folder / "video.mp4").exists()):
        return False
    return all((folder / "frames" / f"{number:04d}.png").exists() for number in range(1, record.request.frames + 1))


def can_go_on(folder: Path, made: Made | None, fingerprint: str) -> bool:
    """A take of this fingerprint was begun here, and has what it takes to go on."""
    record = read_record(folder)
    if not (made and made.state != "waiting" and made.print == fingerprint and record):
        return False
    frames = record.request.frames
    return (folder / "first_frame.png").exists() and (folder / "tracking" / f"{frames:04d}.png").exists()


def read_record(folder: Path) -> TakeRecord | None:
    """take.json, None where there is none that can be read."""
    try:
        return msgspec.json.decode((folder / "take.json").read_bytes(), type=TakeRecord)
    except (OSError, msgspec.MsgspecError):
        return None


def processes_of(state: BatchState | None) -> list[int]:
    """Processes that an earlier run started and that live on."""
    return [made.pid for made in _all(state) if made.pid and pid_alive(made.pid)]


def forget_processes(state: BatchState) -> None:
    """They have ended; their numbers may be others' by now."""
    for made in _all(state):
        made.pid = 0


def _all(state: BatchState | None) -> Iterable[Made]:
    return [*state.captures.values(), *state.takes.values()] if state else []


def _file_hash(file: str, hashes: dict[str, str]) -> str:
    if file not in hashes:
        hashes[file] = sha256_of(Path(file))
    return hashes[file]


def _digest(parts: Sequence[str]) -> str:
    return hashlib.sha256(msgspec.json.encode(list(parts))).hexdigest()
