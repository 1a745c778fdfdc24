"""Logs that do not grow for ever: one older part of each is kept, for a while."""

from __future__ import annotations

import os
import shutil
import time
from pathlib import Path

LOG_BYTES = 5 << 20
KEPT_SECONDS = 30 * 24 * 3600.0


def turn(folder: Path) -> None:
    """Move what a large log holds to its older part, and drop older parts that nobody has needed.

    Whoever writes a log goes on with the same file, which becomes empty: all open it for appending.
    """
    for log in folder.glob("*.log"):
        if log.stat().st_size > LOG_BYTES:
            shutil.copyfile(log, log.with_suffix(".log.1"))
            os.truncate(log, 0)
    for old in folder.glob("*.log.1"):
        if time.time() - old.stat().st_mtime > KEPT_SECONDS:
            old.unlink(missing_ok=True)
