"""Stacks of pictures that grow frame by frame on disk: a whole shot's signals would not fit into memory.

Their files have no names and end with the process, however it ends.
"""

from __future__ import annotations

import math
import mmap
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np


class Stack:
    """``count`` arrays of one shape and dtype, appended one after the other, in a nameless file in ``folder``.

    ``dtype``, ``shape`` and iteration are those of an array [count, ...]. OSError where the disk is full.
    """

    def __init__(self, folder: Path, count: int, like: np.ndarray):
        self.dtype = like.dtype
        self.shape = (count, *like.shape)
        self._file = tempfile.TemporaryFile(dir=folder, prefix="signal-", suffix=".partial")

    def append(self, picture: np.ndarray) -> None:
        if picture.dtype != self.dtype or picture.shape != self.shape[1:]:
            raise ValueError(f"{picture.dtype} {picture.shape} in a stack of {self.dtype} {self.shape[1:]}")
        self._file.write(np.ascontiguousarray(picture).data)

    def __iter__(self) -> Iterator[np.ndarray]:
        """The pictures, one in memory at a time. Not while another iteration goes on."""
        size = math.prod(self.shape[1:]) * self.dtype.itemsize
        self._file.seek(0)
        for _ in range(self.shape[0]):
            yield np.frombuffer(self._file.read(size), self.dtype).reshape(self.shape[1:])

    def array(self) -> np.ndarray:
        """The whole as a read-only array over the file, which it keeps alive: in memory is only what is looked at."""
        self._file.flush()
        mapped = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return np.frombuffer(mapped, self.dtype).reshape(self.shape)

    def close(self) -> None:
        """Free the space, once no array() is left."""
        self._file.close()
