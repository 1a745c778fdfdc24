"""A `das` command in a process of its own, whose JSON lines come through a queue."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue

from .errors import BackendError
from .processes import pid_alive

PARENT = "DAS_PARENT"
SECONDS_BETWEEN_LOOKS = 1.0


class Child:
    """One command. Its JSON lines are put into ``events`` as (child, object), and at its end (child, None).

    Our terminal's Ctrl-C does not reach it on POSIX: who started it decides. It ends with us, however we end.
    """

    def __init__(self, command: Sequence[str], log: Path, events: SimpleQueue):
        log.parent.mkdir(parents=True, exist_ok=True)
        self.log = log
        environment = {**os.environ, PARENT: str(os.getpid()), "PYTHONUTF8": "1"}
        try:
            with log.open("ab") as errors:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=errors, env=environment, start_new_session=os.name == "posix"
                )  # fmt: skip
        except OSError as error:
            raise BackendError(f"{command[0]} cannot be run: {error.strerror}.", "Make the environments again with python3 install/run.py setup.") from None
        threading.Thread(target=self._read, args=(events,), daemon=True).start()

    @property
    def pid(self) -> int:
        return self.process.pid

    def code(self) -> int:
        """The exit code, once the end has come through the queue."""
        return self.process.wait()

    def interrupt(self) -> None:
        """Ctrl-C: it ends its writes and stops. On Windows the console has told it already."""
        if os.name == "posix" and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)

    def terminate(self) -> None:
        """End it at once."""
        if self.process.poll() is None:
            self.process.terminate()

    def end(self, seconds: float) -> None:
        """Wait for its end, and kill it after some seconds."""
        try:
            self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def last_words(self) -> str:
        """The last line that it wrote to its log."""
        with suppress(OSError):
            lines = [line.strip() for line in self.log.read_text(encoding="utf-8", errors="replace").splitlines() if line.strip()]
            return lines[-1] if lines else ""
        return ""

    def _read(self, events: SimpleQueue) -> None:
        for line in self.process.stdout:
            with suppress(ValueError):  # somebody else's line
                events.put((self, json.loads(line)))
        self.process.wait()
        events.put((self, None))


def end_with_parent() -> None:
    """Where a batch started this process: ask it to end, as by Ctrl-C, once the batch has gone, however it went.

    The variable stays: a command that is run again in another Python is watched there too.
    """
    parent = os.environ.get(PARENT, "")
    if parent.isdigit() and (sys.platform == "win32" or os.getppid() == int(parent)):
        threading.Thread(target=_watch, args=(int(parent),), daemon=True).start()


def _watch(parent: int) -> None:
    while pid_alive(parent) if sys.platform == "win32" else os.getppid() == parent:
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.kill(os.getpid(), signal.SIGTERM)
