"""A program that runs beside Blender: what it prints goes into a file that is read as it grows, so nothing here blocks."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import bpy

FOREIGN = ("PYTHONHOME", "PYTHONPATH", "__PYVENV_LAUNCHER__")  # lead one Python to the packages of another


class ChildProcess:
    """``command`` with ``environment`` on top of Blender's own. It has Blender's end of its standard input until :meth:`close`."""

    def __init__(self, command: Sequence[str | Path], environment: Mapping[str, str]):
        handle, name = tempfile.mkstemp(prefix="das-", suffix=".jsonl", dir=bpy.app.tempdir or None)
        self._file = Path(name)
        self._reading = self._file.open("rb")
        self._rest = b""
        inherited = {key: value for key, value in os.environ.items() if key not in FOREIGN}
        # Python writes no .pyc into the extension's folder, which Blender replaces as a whole.
        own = {"PYTHONUTF8": "1", "PYTHONUNBUFFERED": "1", "PYTHONDONTWRITEBYTECODE": "1"}
        apart = (
            {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
            if sys.platform == "win32"
            else {"start_new_session": True}
        )
        try:
            self._child = subprocess.Popen(
                [str(word) for word in command], env={**inherited, **own, **environment},
                stdin=subprocess.PIPE, stdout=handle, stderr=subprocess.STDOUT, **apart,
            )  # fmt: skip
        except OSError:
            self._forget()
            raise
        finally:
            os.close(handle)

    def poll(self) -> int | None:
        """The exit code, None while it runs."""
        return self._child.poll()

    def events(self) -> list[dict]:
        """The lines that have come since the last call: JSON objects as they are, others as ``{"text": line}``."""
        *lines, self._rest = (self._rest + self._reading.read()).split(b"\n")
        return [_event(line.decode("utf-8", "replace").strip()) for line in lines if line.strip()]

    def close_input(self) -> None:
        """Tell it that nobody waits for it any more."""
        with suppress(OSError):
            self._child.stdin.close()

    def terminate(self) -> None:
        self._child.terminate()

    def kill(self) -> None:
        """End it, whatever it does."""
        self._child.kill()

    def close(self) -> None:
        """Let go of it, whether it has ended or not."""
        self.close_input()
        self._forget()

    def _forget(self) -> None:
        self._reading.close()
        with suppress(OSError):  # Windows keeps the file of a process that has not ended yet; Blender's own folder goes with it
            self._file.unlink()


def _event(line: str) -> dict:
    try:
        event = json.loads(line)
    except ValueError:
        return {"text": line}
    return event if isinstance(event, dict) else {"text": line}


def das_command() -> list[str]:
    """The start of a command line of `das` in this very Blender."""
    if bpy.app.module:  # bpy imported by a Python
        return [sys.executable, "-m", __package__.rpartition(".")[0]]
    return [bpy.app.binary_path, "--background", "--command", "das"]
