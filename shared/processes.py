"""Whether a process lives, on every system."""

from __future__ import annotations

import os
import sys


def pid_alive(pid: int) -> bool:
    """A process of this id runs on this machine. One of ours that has ended is reaped, so it counts as gone."""
    if pid <= 0:
        return False
    if sys.platform == "win32":
        return _alive_on_windows(pid)
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return False
    except ChildProcessError:
        pass  # not a child of ours
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # somebody else's, but there
    return True


def _alive_on_windows(pid: int) -> bool:
    # os.kill(pid, 0) would send Ctrl-C here.
    import ctypes

    synchronize, still_waiting = 0x00100000, 0x00000102
    kernel = ctypes.windll.kernel32
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return False
    try:
        return kernel.WaitForSingleObject(handle, 0) == still_waiting
    finally:
        kernel.CloseHandle(handle)
