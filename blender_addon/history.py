"""The takes of this .blend: read from their folder a few at a time, kept until they change.

Nothing is read while a panel draws: :meth:`History.look` lets a timer do that.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import bpy
import msgspec

from ..shared.errors import DasError
from ..shared.ranking import FAVOURITE
from ..shared.request import GenerationRequest
from ..shared.take import Take, TakeRecord
from .areas import redraw_sidebars
from .images import BlenderImages
from .preferences import takes_folder

SECONDS_BETWEEN_SCANS = 2.0
SECONDS_A_STEP = 0.005
SECONDS_BETWEEN_STEPS = 0.02


class Picture(NamedTuple):
    """A file, and when it was written."""

    file: Path
    written: int


class Entry(msgspec.Struct, frozen=True):
    """A take as it was last read."""

    folder: Path
    record: TakeRecord
    favourite: bool
    picture: Picture | None  # its first frame, else the first of its tracking video
    captured: bool  # it has all that an engine needs

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def request(self) -> GenerationRequest:
        return self.record.request

    @property
    def can_resume(self) -> bool:
        return self.captured and self.record.state != "done"

    def matches(self, words: str) -> bool:
        """Whether each of the words is in its prompt or name."""
        text = f"{self.name} {self.request.prompt}".casefold()
        return all(word in text for word in words.casefold().split())


class History:
    """``entries`` are the takes by name, the newest first."""

    def __init__(self):
        self.entries: dict[str, Entry] = {}
        self._stamps: dict[Path, tuple[int, ...]] = {}
        self._scan: Iterator[None] | None = None
        self._scanned = 0.0

    def look(self) -> None:
        """A panel shows the takes: read them again soon, if that was not done just now."""
        if not bpy.app.timers.is_registered(self._tick):
            wait = self._scanned + SECONDS_BETWEEN_SCANS - time.monotonic()
            bpy.app.timers.register(self._tick, first_interval=max(wait, 0.0))

    def read(self) -> None:
        """Read them now, to the end."""
        for _ in self._read():
            pass

    def of_job(self, job: str) -> Entry | None:
        """The take that a job of the backend is of."""
        return next((entry for entry in self.entries.values() if entry.record.job == job), None)

    def close(self) -> None:
        """Forget all, as when another file is opened."""
        if bpy.app.timers.is_registered(self._tick):
            bpy.app.timers.unregister(self._tick)
        self.__init__()

    def _tick(self) -> float | None:
        if bpy.app.is_job_running("RENDER"):
            return SECONDS_BETWEEN_SCANS
        self._scan = self._scan or self._read()
        end = time.monotonic() + SECONDS_A_STEP
        for _ in self._scan:
            if time.monotonic() > end:
                return SECONDS_BETWEEN_STEPS
        self._scan = None
        return None

    def _read(self) -> Iterator[None]:
        """A take a step."""
        parent, found = takes_folder(), []
        for folder in parent.iterdir() if parent and parent.is_dir() else ():
            stamp = _stamp(folder)
            entry = self.entries.get(folder.name)
            if stamp and (entry is None or self._stamps.get(folder) != stamp):
                entry, self._stamps[folder] = read_entry(folder), stamp
            if stamp and entry and is_of_this_file(entry):
                found.append(entry)
            yield
        self._scanned = time.monotonic()
        found.sort(key=lambda entry: (entry.record.created, entry.name), reverse=True)
        entries = {entry.name: entry for entry in found}
        if list(entries.items()) != list(self.entries.items()):
            self.entries = entries
            _list(entries)
            redraw_sidebars()


history = History()


def read_entry(folder: Path) -> Entry | None:
    """A take, or None where the folder holds none that can be read."""
    try:
        take = Take.open(folder, BlenderImages())
    except (DasError, OSError):
        return None
    files = (folder / "first_frame.png", take.tracking_file(0))
    captured = files[0].exists() and take.tracking_file(take.record.request.frames - 1).exists()
    picture = next((Picture(file, file.stat().st_mtime_ns) for file in files if file.exists()), None)
    return Entry(folder, take.record, (folder / FAVOURITE).exists(), picture, captured)


def is_of_this_file(entry: Entry) -> bool:
    """Made from this .blend, or named as its takes are: the file may have been moved since."""
    stem = Path(bpy.data.filepath).stem or "untitled"
    named = re.fullmatch(re.escape(stem) + r"-\d+", entry.name)
    return bool(named) or (bool(bpy.data.filepath) and entry.record.scene == bpy.data.filepath)


def _stamp(folder: Path) -> tuple[int, ...] | None:
    """Changes with whatever an entry tells; None where the folder holds no take."""
    try:
        return folder.stat().st_mtime_ns, (folder / "take.json").stat().st_mtime_ns
    except OSError:
        return None


def _list(entries: dict[str, Entry]) -> None:
    """Give Blender's list the names, and keep the one that is chosen."""
    shown = bpy.context.window_manager.das_history
    chosen = shown.chosen
    shown.takes.clear()
    for name in entries:
        shown.takes.add().name = name
    names = list(entries)
    shown.index = names.index(chosen) if chosen in names else 0
