"""A disk that is full and clocks that jump, inside a backend's processes, told by two files in its home.

``fault.json`` (:class:`Fault`) names a write by its number, counted from when the file appears; ``clock.json``
(:class:`Jump`) says how far the clocks are off. Nothing here imports the package: it comes before it.
"""

from __future__ import annotations

import errno
import os
import sqlite3
import sys
import time
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

Where = Literal["server", "worker"]
CHANGES = ("INSERT", "UPDATE", "DELETE", "REPLACE", "BEGIN", "COMMIT")


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """The disk of a process is full at its ``number``-th write (from 1), and at all later ones where it ``stays``."""

    name: str
    where: Where
    number: int
    stays: bool = False


class Jump(msgspec.Struct, frozen=True, kw_only=True):
    """Seconds by which the clocks are off."""

    wall: float = 0.0
    monotonic: float = 0.0


def order(home: Path, fault: Fault | None) -> None:
    """Let a fault be from now on, or none."""
    if fault is None:
        (home / "fault.json").unlink(missing_ok=True)
    else:
        _put(home / "fault.json", fault)


def met(home: Path) -> dict[str, str]:
    """Name of each fault that has been met -> what was being written."""
    file = home / "met.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return dict(reversed([line.split(" ", 1) for line in lines]))


def set_clocks(home: Path, jump: Jump) -> None:
    _put(home / "clock.json", jump)


def variables() -> dict[str, str]:
    """What a backend's environment must have for this."""
    return {"PYTHONPATH": str(Path(__file__).parent / "site")}


def _put(file: Path, value: msgspec.Struct) -> None:
    partial = file.with_suffix(".partial")
    partial.write_bytes(msgspec.json.encode(value))
    partial.replace(file)


# ---- inside the backend


def install() -> None:
    """Called as a process starts; the home is DAS_HOME's."""
    home, where = Path(os.environ["DAS_HOME"]), "worker" if "worker" in sys.orig_argv else "server"
    _Disk(home, where).install()
    _Clocks(home).install()


class _Told:
    """The latest value of a file, read again only when it has changed."""

    def __init__(self, file: Path, kind: type):
        self._file, self._kind = str(file), kind
        self._stamp, self._value = None, None

    def value(self):
        try:
            stat = os.stat(self._file)
        except FileNotFoundError:
            return None
        if (stat.st_mtime_ns, stat.st_ino) != self._stamp:
            with open(self._file, "rb") as stream:
                self._value = msgspec.json.decode(stream.read(), type=self._kind)
            self._stamp = stat.st_mtime_ns, stat.st_ino
        return self._value


class _Disk:
    """Counts what is written and fails as a full disk does."""

    def __init__(self, home: Path, where: Where):
        self._told, self._where = _Told(home / "fault.json", Fault), where
        self._name, self._count = "", 0
        self._met = os.open(home / "met.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def install(self) -> None:
        for name in ("mkdir", "rename", "replace", "fsync"):
            setattr(os, name, self._before(name, getattr(os, name)))
        np.lib.format.write_array_header_1_0 = self._torn(np.lib.format.write_array_header_1_0)
        sqlite3.connect = self._connect(sqlite3.connect)

    def is_full(self, what: str) -> bool:
        fault = self._told.value()
        if fault is None or fault.where != self._where:
            return False
        if fault.name != self._name:
            self._name, self._count = fault.name, 0
        self._count += 1
        if self._count < fault.number or (self._count > fault.number and not fault.stays):
            return False
        os.write(self._met, f"{fault.name} {what}\n".encode())
        return True

    def _before(self, name: str, real):
        def call(*args, **more):
            if self.is_full(name):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            return real(*args, **more)

        return call

    def _torn(self, real):
        """An array's header is written in part."""

        def write(stream, header):
            if self.is_full("array"):
                stream.write(b"half of it")
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            real(stream, header)

        return write

    def _connect(self, real):
        disk = self

        class Connection(sqlite3.Connection):
            def execute(self, statement, *args):
                disk.check_statement(statement)
                return super().execute(statement, *args)

            def executemany(self, statement, *args):
                disk.check_statement(statement)
                return super().executemany(statement, *args)

        return lambda *args, **more: real(*args, factory=Connection, **more)

    def check_statement(self, statement: str) -> None:
        word = statement.split(None, 1)[0].upper()
        if word in CHANGES and self.is_full(f"sqlite {word}"):
            raise sqlite3.OperationalError("database or disk is full")


class _Clocks:
    def __init__(self, home: Path):
        self._told = _Told(home / "clock.json", Jump)

    def install(self) -> None:
        wall, monotonic = time.time, time.monotonic
        time.time = lambda: wall() + self._jump().wall
        time.monotonic = lambda: monotonic() + self._jump().monotonic

    def _jump(self) -> Jump:
        return self._told.value() or Jump()
