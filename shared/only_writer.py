"""One process at a time writes into a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import UsageError
from .processes import pid_alive

NAME = ".writing"


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """UsageError while another process is within for the same folder, which exists. What a killed process has left is no hindrance."""
    file = folder / NAME
    _claim(file)
    try:
        yield
    finally:
        file.unlink(missing_ok=True)


def _claim(file: Path) -> None:
    for _ in range(2):
        try:
            with file.open("x") as opened:
                opened.write(str(os.getpid()))
            return
        except FileExistsError:
            if (owner := _owner(file)) and pid_alive(owner):
                raise UsageError(f"Process {owner} is writing into {file.parent} already.", f"Wait for it; if there is none, delete {file}.") from None
            file.unlink(missing_ok=True)
        except OSError as error:
            raise UsageError(f"{file.parent} cannot be written: {error.strerror}.", "Choose another folder with -o.") from None
    raise UsageError(f"Another process has just begun to write into {file.parent}.", "Wait for it.")


def _owner(file: Path) -> int:
    try:
        return int(file.read_text())
    except (OSError, ValueError):
        return 0
