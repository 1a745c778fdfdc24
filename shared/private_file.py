"""A file that its user alone can read: written so on every system, and checked where it is read."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from .errors import BackendError

ON_WINDOWS = sys.platform == "win32"
SECONDS_FOR_ICACLS = 20.0


class NotPrivate(BackendError):
    """Others can read a file that holds keys, or it is somebody else's."""


def write_private(content: bytes, file: Path) -> None:
    """The file, whole or not at all, and never readable by others, not even while it is written."""
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{os.getpid()}.partial")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)  # no link is followed
    try:
        if ON_WINDOWS:
            _restrict_on_windows(partial)  # a file there has no mode, but its folder's access list
        with os.fdopen(handle, "wb", closefd=False) as stream:
            stream.write(content)
    except BaseException:
        os.close(handle)
        partial.unlink(missing_ok=True)
        raise
    os.close(handle)
    os.replace(partial, file)


def check_private(file: Path) -> None:
    """NotPrivate where a file is not its reader's alone. On Windows, where that has no short answer, its folder is trusted."""
    if ON_WINDOWS:
        return
    status = file.stat()
    if status.st_uid != os.getuid():
        raise NotPrivate(f"{file} belongs to another user.", "Delete it, or set DAS_HOME to a folder of yours.")
    if status.st_mode & 0o077:
        raise NotPrivate(f"{file} holds keys, and others can read it.", f"Make it yours alone: chmod 600 {file}")


def _restrict_on_windows(file: Path) -> None:
    """Take the folder's access list away and give one to the user alone, while the file is still empty."""
    try:
        user = _run("whoami").strip()
        _run("icacls", str(file), "/inheritance:r", "/grant:r", f"{user}:F")
    except (OSError, subprocess.SubprocessError) as error:
        raise NotPrivate(f"{file} cannot be made private: {error}.", "Set DAS_HOME to a folder on an NTFS disk.") from error


def _run(*command: str) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, timeout=SECONDS_FOR_ICACLS,
        creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
    )  # fmt: skip
    return done.stdout
