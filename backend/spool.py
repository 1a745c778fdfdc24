"""One job's folder in the spool: its signals until it ends, its frames until the client has them.

signals/tracking.npy ...    written by the server, memory-mapped by the worker
frames/0003.npy ...         written by the worker
frames/0003.received        what is left of it once the client has acknowledged it: an empty file
frames/0003-valid.npy ...   likewise, where a task makes signals
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

_PARSING = threading.Lock()  # numpy reads a file's header by ast, which fails in several threads at once in Python 3.11


class JobFolder:
    """The folder of one job; a final name is never half-written, and what is written is on the disk."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.signals = folder / "signals"
        self.frames = folder / "frames"

    def write_signals(self, signals: dict[str, np.ndarray]) -> None:
        """All signals, or none. The names must have been checked: they become file names."""
        partial = self.folder / "signals.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        try:
            for name, array in signals.items():
                _save(partial / f"{name}.npy", array)
            shutil.rmtree(self.signals, ignore_errors=True)
            partial.rename(self.signals)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        sync_folder(self.folder)
        sync_folder(self.folder.parent)

    def read_signals(self) -> dict[str, np.ndarray]:
        """Memory-mapped and read-only."""
        files = sorted(self.signals.glob("*.npy"))
        return {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in files}

    def has_signals(self) -> bool:
        return self.signals.is_dir()

    def write_frame(self, index: int, array: np.ndarray, name: str = "") -> None:
        """Result ``index``: a frame u8 [H,W,3], or the signal of a name."""
        self.frames.mkdir(parents=True, exist_ok=True)
        partial = self.frames / f"{index:04d}.partial"
        try:
            _save(partial, array)
            partial.replace(self.frames / (f"{index:04d}-{name}.npy" if name else f"{index:04d}.npy"))
        except BaseException:
            partial.unlink(missing_ok=True)
            raise

    def read_frame(self, index: int) -> tuple[str, np.ndarray]:
        """A signal's name, empty for a frame, and the array."""
        file = next(iter(self._files(index)), self.frames / f"{index:04d}.npy")
        with _PARSING:
            return file.stem[5:], np.load(file, allow_pickle=False)

    def receive_frame(self, index: int) -> None:
        """The client has it: only a mark stays, so that it is not made again."""
        for file in self._files(index):
            mark = file.with_name(f"{index:04d}.received")
            try:
                file.replace(mark)
                os.truncate(mark, 0)
            except OSError:  # the disk is too full for a mark, or another connection of the client was faster
                file.unlink(missing_ok=True)

    def received_indices(self) -> list[int]:
        """The frames that the client has acknowledged."""
        return sorted(int(file.stem) for file in self.frames.glob("*.received"))

    def lose_frames(self, indices: Iterable[int]) -> None:
        """These are not with the client after all."""
        for index in indices:
            (self.frames / f"{index:04d}.received").unlink(missing_ok=True)

    def sync_frames(self) -> None:
        """Make all of them durable: each one's bytes are already, their names are now."""
        if self.frames.is_dir():
            sync_folder(self.frames)

    def drop_frames(self) -> None:
        shutil.rmtree(self.frames, ignore_errors=True)

    def frame_indices(self) -> list[int]:
        """The frames, or signals, that lie here."""
        return sorted(int(file.stem[:4]) for file in self.frames.glob("*.npy"))

    def drop_signals(self) -> None:
        # On Windows a file that a worker still maps stays; the folder then goes with the next pruning.
        shutil.rmtree(self.signals, ignore_errors=True)

    def drop(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def size(self) -> int:
        """Bytes of all its files."""
        total = 0
        for file in self.folder.rglob("*"):
            with suppress(FileNotFoundError):  # dropped meanwhile
                total += file.stat().st_size
        return total

    def _files(self, index: int) -> list[Path]:
        return list(self.frames.glob(f"{index:04d}*.npy"))


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable, where the system can (Windows does so by itself)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _save(file: Path, array: np.ndarray) -> None:
    with file.open("wb") as stream:
        array = np.ascontiguousarray(array)
        np.lib.format.write_array_header_1_0(stream, np.lib.format.header_data_from_array_1_0(array))
        stream.write(array.reshape(-1).view(np.uint8).data)  # np.save hides that a disk is full
        stream.flush()
        os.fsync(stream.fileno())
