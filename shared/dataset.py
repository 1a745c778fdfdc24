"""A folder of training clips, in the reference's layout (docs/datasets.md).

prompt.txt videos.txt trackings.txt [images.txt]   a line a clip, paths relative to the folder
manifest.jsonl        a ClipRecord a line: what the text lists cannot carry
videos/00001.mp4 tracking/00001_tracking.mkv images/00001.png tracks/00001.npz cameras/00001.json

Where there is a manifest the lists are written from it, each whole: a clip is in all of them or in none. A dataset of the
reference program has none, and is read by its lists.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from .errors import DasError, GenerationError, UsageError
from .files import write_whole

Made = TypeVar("Made")
MANIFEST = "manifest.jsonl"
PROMPTS = "prompt.txt"
LISTS = {"prompt": PROMPTS, "video": "videos.txt", "tracking": "trackings.txt"}
OPTIONAL_LISTS = {"image": "images.txt"}
FAILURES = "failures.jsonl"
FILES = ("video", "tracking", "image", "tracks", "camera")
LAYOUT = "A dataset has prompt.txt, videos.txt and trackings.txt, a line a clip (docs/datasets.md)."


class Source(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """A file that a clip was made from, and under which licence it is."""

    path: str
    licence: str = ""
    source: str = ""  # where it is from: a person, an address
    sha256: str = ""


class ClipRecord(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A line of manifest.jsonl. Paths are relative to the dataset, with ``/``; ``settings`` say how the clip was drawn."""

    name: str
    prompt: str
    video: str
    tracking: str
    image: str | None = None
    tracks: str | None = None
    camera: str | None = None
    frames: int
    width: int
    height: int
    fps: float
    seed: int | None = None
    sources: list[Source] = []
    hashes: dict[str, str] = {}  # sha256 of video and tracking
    settings: dict[str, str | float] = {}


class Clip(msgspec.Struct, kw_only=True, frozen=True):
    """One clip to read: whole paths, its line in the lists (from 1), and its record where there is a manifest."""

    name: str
    prompt: str
    video: Path
    tracking: Path
    image: Path | None = None
    tracks: Path | None = None
    line: int
    record: ClipRecord | None = None


class Finding(msgspec.Struct, frozen=True):
    """What is wrong with one line of a file of the dataset; line 0 is the file as a whole."""

    file: str
    line: int
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.file}{f', line {self.line}' if self.line else ''}: {self.message} {self.fix}"


class Dataset:
    """An open dataset. ``records`` are the manifest's, ``clips`` what can be read, in the order of the lists."""

    def __init__(self, root: Path, records: list[ClipRecord], clips: list[Clip]):
        self.root = root
        self.records = records
        self.clips = clips

    @classmethod
    def open(cls, root: Path) -> Dataset:
        """UsageError where there is no dataset, its manifest cannot be read, or its lists have not as many lines."""
        root = Path(root)
        if (root / MANIFEST).exists():
            return cls._of_records(root, _with_listed_prompts(root, read_manifest(root)))
        missing = [name for name in LISTS.values() if not (root / name).is_file()]
        if missing:
            what = f"{missing[0]} is missing in {root}" if root.is_dir() else f"There is no folder {root}"
            raise UsageError(f"{what}.", LAYOUT)
        columns = {name: read_lines(root / file) for name, file in _lists(root).items()}
        if problem := _uneven(columns):
            raise UsageError(f"{root / problem.file}: {problem.message}", problem.fix)
        return cls(root, [], _listed_clips(root, columns))

    @classmethod
    def create(cls, root: Path) -> Dataset:
        """The dataset of a folder that has one with a manifest, or else a new one in a new or empty folder."""
        root = Path(root)
        if (root / MANIFEST).exists():
            return cls.open(root)
        if any((root / name).exists() for name in LISTS.values()):
            raise UsageError(f"{root} holds a dataset without a manifest, to which nothing can be added.", "Choose a new folder with -o.")
        with_errors(lambda: root.mkdir(parents=True, exist_ok=True), root)
        return cls(root, [], [])

    @classmethod
    def _of_records(cls, root: Path, records: list[ClipRecord]) -> Dataset:
        return cls(root, records, [_clip(root, record, line) for line, record in enumerate(records, start=1)])

    def append(self, record: ClipRecord, staged: Path | None = None) -> None:
        """Add a clip, in the order of names: its files are moved from below ``staged``, where they lie under the same paths, then the manifest and the
        lists are written anew, each whole. GenerationError where the disk is full; then the lists stay as they were.
        """
        if any(known.name == record.name for known in self.records):
            raise UsageError(f"{self.root} has a clip {record.name} already.", "Give the new one another name.")
        for path in filter(None, (getattr(record, name) for name in FILES)):
            if staged:
                with_errors(lambda: _move(staged / path, self.root / path), self.root)
        records = sorted([*self.records, record], key=lambda each: each.name)
        with_errors(lambda: write_lists(self.root, records), self.root)
        self.records = records
        self.clips = [_clip(self.root, each, line) for line, each in enumerate(records, start=1)]

    def mend_lists(self) -> None:
        """Write the lists anew from the manifest, where a process was killed while it wrote them."""
        if self.records:
            with_errors(lambda: write_lists(self.root, self.records), self.root)


def read_manifest(root: Path) -> list[ClipRecord]:
    """The records of a dataset; UsageError, with the line, where one cannot be read."""
    file, records = root / MANIFEST, []
    for line, text in enumerate(read_lines(file), start=1):
        try:
            records.append(msgspec.json.decode(text, type=ClipRecord))
        except msgspec.MsgspecError as error:
            raise UsageError(f"{file}, line {line} cannot be read: {error}.", "Mend the line, or delete it with the clip's lines in the lists.") from None
    return records


def write_lists(root: Path, records: list[ClipRecord]) -> None:
    """Manifest first, from which the lists can be made again; each beside its name and then moved there."""
    write_whole(root / MANIFEST, b"".join(msgspec.json.encode(record) + b"\n" for record in records))
    columns = dict(LISTS)
    if records and all(record.image for record in records):
        columns |= OPTIONAL_LISTS
    for name, file in columns.items():
        write_whole(root / file, "".join(f"{_one_line(getattr(record, name))}\n" for record in records).encode())


def check_lists(root: Path) -> list[Finding]:
    """All that is wrong and can be seen without opening a clip: counts, missing files, paths that leave the folder, empty
    prompts, lists that do not say what the manifest says. UsageError where there is no dataset at all."""
    root = Path(root)
    if not root.is_dir():
        raise UsageError(f"There is no folder {root}.", LAYOUT)
    findings = [Finding(file, 0, "It is missing.", LAYOUT) for file in LISTS.values() if not (root / file).is_file()]
    columns = {name: read_lines(root / file) for name, file in _lists(root).items() if (root / file).is_file()}
    if problem := _uneven(columns):
        findings.append(problem)
    for name, lines in columns.items():
        findings += _check_lines(root, name, lines)
    if (root / MANIFEST).exists():
        findings += _check_manifest(root, columns)
    return findings


def read_lines(file: Path) -> list[str]:
    """The lines of a UTF-8 file, stripped, without the empty ones at its end. UsageError where it cannot be read."""
    try:
        lines = [line.strip() for line in file.read_text(encoding="utf-8-sig").split("\n")]
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is no UTF-8 text"
        raise UsageError(f"{file} cannot be read: {reason}.", "Save it as UTF-8, and check its permissions.") from None
    while lines and not lines[-1]:
        lines.pop()
    return lines


def inside(root: Path, path: str) -> Path | None:
    """The whole path of a line of a list; None where it leads out of the dataset."""
    plain = path.replace("\\", "/")
    leads_out = PurePosixPath(plain).is_absolute() or ":" in plain.split("/")[0]
    whole = Path(os.path.normpath(root / plain))
    return None if leads_out or not whole.is_relative_to(os.path.normpath(root)) else whole


def _lists(root: Path) -> dict[str, str]:
    return LISTS | {name: file for name, file in OPTIONAL_LISTS.items() if (root / file).is_file()}


def _uneven(columns: dict[str, list[str]]) -> Finding | None:
    """The list that ends first, where they are not equally long."""
    known = LISTS | OPTIONAL_LISTS
    if len({len(lines) for lines in columns.values()}) <= 1:
        return None
    short, long = min(columns, key=lambda name: len(columns[name])), max(columns, key=lambda name: len(columns[name]))
    count = len(columns[short])
    return Finding(
        known[short], count + 1, f"It ends after {count} lines, and {known[long]} has {len(columns[long])}.", "Give each clip one line in every list."
    )


def _check_lines(root: Path, name: str, lines: list[str]) -> list[Finding]:
    file, findings = (LISTS | OPTIONAL_LISTS)[name], []
    for line, text in enumerate(lines, start=1):
        if name == "prompt":
            findings += [Finding(file, line, "The prompt is empty.", "Say what the clip shows.")] * (not text)
        elif not text:
            findings.append(Finding(file, line, "The line is empty.", "Give the clip's path, or delete the clip's line in every list."))
        elif (path := inside(root, text)) is None:
            findings.append(Finding(file, line, f"{text} leads out of the dataset.", "Give a path relative to the dataset's folder."))
        elif not path.is_file():
            findings.append(Finding(file, line, f"There is no file {text}.", "Bring the file back, or delete the clip's line in every list."))
    return findings


def _check_manifest(root: Path, columns: dict[str, list[str]]) -> list[Finding]:
    records = read_manifest(root)
    fix = f"Delete the clip's line in both; where the lists are right, delete {MANIFEST} and lose what only it knows."
    findings = []
    for name in ("video", "tracking"):
        listed, kept = columns.get(name, []), [getattr(record, name) for record in records]
        if listed != kept:
            line = next((line for line, (one, other) in enumerate(zip(listed, kept), start=1) if one != other), min(len(listed), len(kept)) + 1)
            findings.append(Finding(MANIFEST, line, f"It does not say what {LISTS[name]} says.", fix))
    return findings


def _listed_clips(root: Path, columns: dict[str, list[str]]) -> list[Clip]:
    """Paths that lead out of the dataset are for check_lists to find, and are not followed."""
    clips = []
    for line, row in enumerate(zip(*columns.values()), start=1):
        entry = dict(zip(columns, row))
        paths = {name: inside(root, entry[name]) for name in entry if name != "prompt"}
        for name, path in paths.items():
            if path is None or not entry[name]:
                file = (LISTS | OPTIONAL_LISTS)[name]
                raise UsageError(f"{root / file}, line {line}: {entry[name] or 'an empty line'} is no path in the dataset.", "Give a path relative to its folder.")
        clips.append(Clip(name=paths["video"].stem, prompt=entry["prompt"], line=line, **paths))
    return clips


def _clip(root: Path, record: ClipRecord, line: int) -> Clip:
    paths = {}
    for name in ("video", "tracking", "image", "tracks"):
        if stated := getattr(record, name):
            paths[name] = inside(root, stated)
            if paths[name] is None:
                raise UsageError(f"{root / MANIFEST}, line {line}: {stated} leads out of the dataset.", "Give a path relative to its folder.")
    return Clip(name=record.name, prompt=record.prompt, line=line, record=record, **paths)


def _with_listed_prompts(root: Path, records: list[ClipRecord]) -> list[ClipRecord]:
    """A prompt that was rewritten in prompt.txt counts, as long as the lists are in step with the manifest."""
    if not all((root / file).is_file() for file in (PROMPTS, LISTS["video"])):
        return records
    prompts, videos = read_lines(root / PROMPTS), read_lines(root / LISTS["video"])
    if len(prompts) != len(records) or videos != [record.video for record in records]:
        return records
    return [msgspec.structs.replace(record, prompt=prompt) for record, prompt in zip(records, prompts)]


def _move(file: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    file.replace(target)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def note_failure(root: Path, clip: str, error: DasError) -> dict[str, str]:
    """Add a clip that could not be made to failures.jsonl; the line that was added."""
    entry = {"clip": clip, "message": error.message, "fix": error.fix, "time": time.strftime("%Y-%m-%dT%H:%M:%S")}

    def write() -> None:
        with (root / FAILURES).open("a", encoding="utf-8") as log:
            log.write(json.dumps(entry, ensure_ascii=False) + "\n")

    with_errors(write, root)
    return entry


def clips_in_words(count: int) -> str:
    """'1 clip', '2 clips'."""
    return f"{count} clip{'s' if count != 1 else ''}"


def with_errors(work: Callable[[], Made], root: Path) -> Made:
    """What comes of doing something to the dataset's files; GenerationError where the disk is full or may not be written."""
    try:
        return work()
    except OSError as error:
        raise GenerationError(f"{root} cannot be written: {error.strerror or error}.", "Free some space or check the folder's permissions.") from error
