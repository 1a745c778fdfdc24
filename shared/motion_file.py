"""Motions of an object in files: [T,4,4] matrices of points in the first frame's OpenCV camera.

.npy   the array
.npz   the array under the key ``motion``
.json  nested lists, or an object with the key ``motion``
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np

from .errors import UsageError

FORM = "Give a .npy, .npz or .json of one 4x4 matrix a frame."
KEY = "motion"


def read_motion(file: Path, frames: int) -> np.ndarray:
    """M_t, f64 [T,4,4], relative to the first frame (M_t M_0^-1), so that M_0 is the identity.

    UsageError where it cannot be read, is of another shape, not finite, or its first matrix has no inverse.
    """
    matrices = _read(Path(file))
    if matrices.ndim != 3 or matrices.shape[1:] != (4, 4):
        raise UsageError(f"{file} holds {list(matrices.shape)} numbers, not [{frames}, 4, 4].", FORM)
    if len(matrices) != frames:
        raise UsageError(f"{file} has {len(matrices)} frames, the video has {frames}.", "Give a matrix a frame, or choose another frame count.")
    if not np.isfinite(matrices).all():
        raise UsageError(f"{file} holds numbers that are not finite.", FORM)
    if abs(np.linalg.det(matrices[0])) < 1e-12:
        raise UsageError(f"The first matrix of {file} has no inverse.", "Begin with the identity.")
    return matrices @ np.linalg.inv(matrices[0])


def _read(file: Path) -> np.ndarray:
    try:
        return np.asarray(_decode(file), dtype=np.float64)
    except FileNotFoundError:
        raise UsageError(f"There is no motion at {file}.", "Check its path.") from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror or error}.", "Check that it is a file, and its permissions.") from None
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile):
        raise UsageError(f"{file} is no motion.", FORM) from None


def _decode(file: Path):
    if file.suffix.lower() == ".json":
        content = json.loads(file.read_bytes())
        return content[KEY] if isinstance(content, dict) else content
    stored = np.load(file, allow_pickle=False)
    if isinstance(stored, np.ndarray):
        return stored
    with stored:
        return stored[KEY]
