"""signals.npz as numpy writes it, written and read a frame of one array at a time, so that neither takes long at once."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np

from .errors import UsageError
from .stacks import Stack

STORED = ("rest",)  # noise to zlib; the others shrink to a tenth in a second


def writing_arrays(file: Path, arrays: Mapping[str, np.ndarray | Stack]) -> Iterator[tuple[int, int]]:
    """Write arrays [T,...]: how many of their frames are written, and of how many."""
    done, total = 0, sum(array.shape[0] for array in arrays.values())
    # Not np.savez: on a full disk it leaves a ZipFile behind that prints a traceback when it is collected.
    with zipfile.ZipFile(file, "w", compresslevel=1) as archive:
        for name, array in arrays.items():
            archive.compression = zipfile.ZIP_STORED if name in STORED else zipfile.ZIP_DEFLATED
            with archive.open(f"{name}.npy", "w", force_zip64=True) as entry:
                form = {"descr": array.dtype.str, "fortran_order": False, "shape": array.shape}
                np.lib.format.write_array_header_1_0(entry, form)
                for picture in array:
                    entry.write(np.ascontiguousarray(picture).data)
                    done += 1
                    yield done, total


def reading_arrays(file: Path, names: Iterable[str], arrays: dict[str, np.ndarray]) -> Iterator[tuple[int, int]]:
    """Read those of ``names`` that the file has into ``arrays``: how many of their frames are read, and of how many.

    UsageError where it cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            found = [name for name in names if f"{name}.npy" in archive.namelist()]
            for number, name in enumerate(found):
                with archive.open(f"{name}.npy") as entry:
                    array = arrays[name] = _empty(entry)
                    for index in range(len(array)):
                        array[index] = _picture(entry, array)
                        yield number * len(array) + index + 1, len(found) * len(array)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(f"{file} cannot be read: {str(error).strip('.')}.", "Make the take again.") from None


def _empty(entry: zipfile.ZipExtFile) -> np.ndarray:
    """What an entry's header describes."""
    if np.lib.format.read_magic(entry) != (1, 0):
        raise ValueError("it has a header of another version")
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(entry)
    if fortran or dtype.hasobject or not shape:
        raise ValueError(f"it holds {dtype} {list(shape)}")
    return np.empty(shape, dtype)


def _picture(entry: zipfile.ZipExtFile, array: np.ndarray) -> np.ndarray:
    """The next of the pictures that ``array`` is to hold."""
    size = array[0].nbytes
    content = entry.read(size)
    if len(content) != size:
        raise EOFError("it ends too early")
    return np.frombuffer(content, array.dtype).reshape(array.shape[1:])
