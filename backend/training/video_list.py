"""Which videos become clips, and what is said of each: files, folders, lists of paths, and prompts beside them. No torch."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

from ...shared.dataset import read_lines
from ...shared.errors import UsageError
from ...shared.sidecars import in_words, read_sidecar

VIDEOS = (".mp4", ".mov", ".mkv", ".webm", ".avi", ".m4v")
COLUMNS = ("video", "prompt", "licence", "source")
WORD = "video"


class Entry(NamedTuple):
    """One video: its prompt, the tracks that are known of it, and where it is from."""

    video: Path
    prompt: str
    tracks: Path | None = None
    licence: str = ""
    source: str = ""


class Said(NamedTuple):
    """What the command line says for videos that have nothing of their own."""

    prompt: str = "{video}"
    prompts: Path | None = None
    tracks: Path | None = None
    licence: str = ""
    source: str = ""


def entries(given: list[Path], said: Said) -> list[Entry]:
    """One for each video, in the order given and by name within a folder. UsageError for what is missing or does not agree."""
    videos = [video for one in given for video in _videos_of(one)]
    rows = _rows(said.prompts, videos) if said.prompts else [{}] * len(videos)
    tracks = _tracks(said.tracks, videos)
    made = []
    for video, row, known in zip(videos, rows, tracks):
        side = read_sidecar(video)
        prompt = row.get("prompt") or said.prompt.replace(f"{{{WORD}}}", side.name or in_words(video.stem))
        licence, source = (row.get(name) or getattr(side, name) or getattr(said, name) for name in ("licence", "source"))
        made.append(Entry(video, " ".join(prompt.split()), known, licence, source))
    return made


def check_template(template: str) -> str:
    """The template itself; UsageError where it is empty or has braces that mean nothing."""
    if not template.strip() or set("{}") & set(template.replace(f"{{{WORD}}}", "")):
        raise UsageError(f"'{template}' is no template of a prompt.", "Use {video} for the file's name in words, and no other braces.")
    return template


def _videos_of(given: Path) -> list[Path]:
    """Those of a folder, of a list (.txt, a path a line, relative to it), or the file itself."""
    if given.is_dir():
        found = sorted(file for file in given.iterdir() if file.suffix.lower() in VIDEOS)
        if not found:
            raise UsageError(f"{given} holds no videos.", f"Give a folder of {', '.join(VIDEOS)} files.")
        return found
    if given.suffix.lower() != ".txt":
        return [_existing(given, "")]
    return [_existing(given.parent / line, f"{given}, line {number}: ") for number, line in enumerate(read_lines(given), start=1) if line]


def _existing(file: Path, where: str) -> Path:
    if not file.is_file():
        raise UsageError(f"{where}There is no file {file}.", "Check the path.")
    return file


def _rows(file: Path, videos: list[Path]) -> list[dict[str, str]]:
    """What a file says of each video: a CSV by name, a text by line."""
    if file.suffix.lower() == ".csv":
        return _table(file, videos)
    lines = read_lines(file)
    if len(lines) != len(videos):
        raise UsageError(f"{file} has {len(lines)} lines, and there are {len(videos)} videos.", "Give a line for each, or a CSV with the columns video and prompt.")
    if "" in lines:
        raise UsageError(f"{file}, line {lines.index('') + 1} is empty.", "Say what the video shows.")
    return [{"prompt": line} for line in lines]


def _table(file: Path, videos: list[Path]) -> list[dict[str, str]]:
    read = csv.DictReader(read_lines(file))
    unknown = set(read.fieldnames or ()) - set(COLUMNS)
    if unknown or not {"video", "prompt"} <= set(read.fieldnames or ()):
        raise UsageError(f"{file}, line 1 names the columns {', '.join(read.fieldnames or ()) or 'none'}.", f"They are {', '.join(COLUMNS)}; video and prompt must be there.")
    rows: dict[str, dict[str, str]] = {}
    for row in read:
        if None in row or None in row.values() or not row["prompt"].strip():
            raise UsageError(f"{file}, line {read.line_num} has no prompt, or other columns than the first line.", "Put texts with commas into quotes.")
        rows[row["video"].strip()] = {name: value.strip() for name, value in row.items()}
    missing = next((video for video in videos if video.name not in rows and video.stem not in rows), None)
    if missing:
        raise UsageError(f"{file} has no line for {missing.name}.", "Add one, with the file's name in the column video.")
    return [rows.get(video.name) or rows[video.stem] for video in videos]


def _tracks(given: Path | None, videos: list[Path]) -> list[Path | None]:
    """The file of tracks of each video: NAME.npz in a folder, or the one file of one video."""
    if given is None:
        return [None] * len(videos)
    if given.is_file() and len(videos) == 1:
        return [given]
    if not given.is_dir():
        raise UsageError(f"--tracks {given} is no folder.", "Give a folder with a file NAME.npz for each video NAME.mp4.")
    return [given / f"{video.stem}.npz" for video in videos]
