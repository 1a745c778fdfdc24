"""Files that a farm's programs read: whole under their names, and on the disk, before anything is said of them."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError
from ..files import becoming


def write_durably(file: Path, content: bytes) -> None:
    """The file, its folder too where there is none; UsageError where it cannot be written."""
    try:
        with becoming(file) as partial, open(partial, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.", "Check the folder's permissions, or free some space.") from error
