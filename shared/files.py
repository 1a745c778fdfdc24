"""Files that are whole under their names, have a hash, and stand in two places at the cost of one."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def becoming(file: Path) -> Iterator[Path]:
    """A name to write under, which becomes ``file`` at the end, or is gone where that is not reached. Its folder is made."""
    partial = file.with_name(file.name + ".partial")
    file.parent.mkdir(parents=True, exist_ok=True)
    try:
        yield partial
        partial.replace(file)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def write_whole(file: Path, content: bytes) -> None:
    """The file with this content, or as it was. OSError where it cannot be written."""
    with becoming(file) as partial:
        partial.write_bytes(content)


def sha256_of(file: Path) -> str:
    """Hexadecimal, of a file of any length."""
    with file.open("rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def link_or_copy(source: Path, target: Path) -> None:
    """One file in two folders, a copy where the disk has no links: for files that are replaced and never written into."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
