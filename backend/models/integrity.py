"""Whether files are what the hub says that they are: by sha256, or for small ones by git's hash of their content."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

from . import weights
from .weights import Place, Stored

Progress = Callable[[int, int], None]  # bytes done, bytes in all


def expected(place: Place) -> dict[str, Stored]:
    """What each file should be: from the manifest of das models pull, or from the names that a hub cache gives its blobs.

    Empty where nobody knows: a folder of the user's own.
    """
    if manifest := weights.read_manifest(place.folder):
        return manifest.files
    links = [file for file in place.folder.rglob("*") if file.is_symlink()] if place.hub else []
    return {file.relative_to(place.folder).as_posix(): _of_blob(file) for file in sorted(links) if _names_content(file)}


def damaged(place: Place, files: dict[str, Stored], progress: Progress = lambda done, size: None) -> list[str]:
    """Names of the files that are missing or other than they should be. Reads them all."""
    total, before, wrong = sum(file.bytes for file in files.values()), 0, []
    for name, stored in files.items():
        if not is_stored(place.folder / name, stored, lambda done, size: progress(before + done, total)):
            wrong.append(name)
        before += stored.bytes
        progress(before, total)
    return wrong


def is_stored(file: Path, stored: Stored, progress: Progress | None = None) -> bool:
    """Whether a file is there, of this length and of this hash."""
    if not has_length(file, stored):
        return False
    kind, _, value = stored.hash.rpartition(":")
    return value == (git_hash(file) if kind == "git" else weights.sha256(file, progress))


def has_length(file: Path, stored: Stored) -> bool:
    return file.is_file() and file.stat().st_size == stored.bytes


def git_hash(file: Path) -> str:
    """How git names a file of this content."""
    content = file.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()


def _names_content(file: Path) -> bool:
    return re.fullmatch(r"[0-9a-f]{40}|[0-9a-f]{64}", file.resolve().name) is not None


def _of_blob(file: Path) -> Stored:
    blob = file.resolve()
    size = blob.stat().st_size if blob.exists() else -1
    return Stored(size, blob.name if len(blob.name) == 64 else f"git:{blob.name}")
