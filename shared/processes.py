"""Whether a process lives, and how ours ends, on every system."""

from __future__ import annotations

import atexit
import os
import shutil
import signal
import sys
from contextlib import suppress
from typing import NoReturn


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


def end_process(code: int) -> NoReturn:
    """End this process with an exit code, all that Python has open closed.

    Where it holds Blender's module, the destructors of the libraries in it are left out: at times those of 4.5 wait for
    a thread for ever, those of both end in a crash after a scene that Blender itself stumbled over.
    """
    bpy = sys.modules.get("bpy")
    if bpy is None:
        sys.exit(code)
    atexit._run_exitfuncs()
    if started := getattr(bpy, "app", None):  # it may have been interrupted while it started
        shutil.rmtree(started.tempdir, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def stop_process(pid: int, hard: bool = False) -> None:
    """Ask a process to end, or on request end it; both are the latter on Windows. One that is gone already is no error."""
    number = signal.SIGKILL if hard and sys.platform != "win32" else signal.SIGTERM
    with suppress(ProcessLookupError):
        os.kill(pid, number)


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
