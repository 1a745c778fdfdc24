"""One backend a user: a lock that the system drops when its holder dies, however it dies."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from ..shared.errors import BackendError


class AlreadyRunning(BackendError):
    """Another backend holds the lock."""

    kind = "already_running"


def lock_instance(file: Path) -> int:
    """Take the lock, held until this process ends; AlreadyRunning where another process has it."""
    file.parent.mkdir(parents=True, exist_ok=True)
    handle = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _lock(handle)
    except OSError:
        os.close(handle)
        raise AlreadyRunning("A backend of this user runs already.", "Use that one, or close whatever holds it.") from None
    return handle


def _lock(handle: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
