"""What a command tells: a progress bar on a terminal, a line every few seconds elsewhere, or JSON lines."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import TextIO

from .errors import DasError

BAR_WIDTH, LINE_WIDTH = 28, 79
SECONDS_BETWEEN_LINES = 3.0


class Reporter:
    """For people: progress, notes and errors on ``err``, results on ``out``.

    Commands talk to their user through this and never print, so that ``--json`` holds JSON only.
    """

    def __init__(self, out: TextIO, err: TextIO):
        self.out = out
        self.err = err
        self.terminal = err.isatty()
        self._line_open = False
        self._phase, self._spoke = "", -SECONDS_BETWEEN_LINES

    def progress(self, phase: str, step: int, total: int, eta: float | None = None) -> None:
        """``step`` of ``total`` of a phase is done; ``eta`` in seconds where it is known."""
        text = f"{phase:<14} {step}/{total}" + (f", about {eta:.0f} s left" if eta else "")
        if self.terminal:
            filled = BAR_WIDTH * step // max(total, 1)
            bar = f"[{'#' * filled}{'.' * (BAR_WIDTH - filled)}] {text}"
            self._write(self.err, f"\r{bar:<{LINE_WIDTH}}", end="")
            self._line_open = True
        elif self._is_due(phase, step >= total):
            self._write(self.err, text)

    def note(self, sentence: str) -> None:
        """Something worth knowing that is no error, such as a chosen fallback."""
        self._close_line()
        self._write(self.err, sentence)

    def event(self, name: str, **fields) -> None:
        """A detail that only programs read; people do not see it."""

    def saved(self, file: Path) -> None:
        """A picture or video stands under its final name. The line is Blender's own, which render farms look for."""
        if self._line_open:  # the bar goes on below it
            self._write(self.err, f"\r{'':<{LINE_WIDTH}}\r", end="")
            self._line_open = False
        self._write(self.out, f"Saved: '{file.absolute()}'")

    def result(self, text: str, **fields) -> None:
        """What the command made: ``text`` for people, ``fields`` for programs."""
        self._close_line()
        self._write(self.out, text)

    def error(self, error: DasError) -> None:
        """One sentence of what is wrong and one of what to do."""
        self._close_line()
        self._write(self.err, f"das: {error}")

    def _is_due(self, phase: str, complete: bool) -> bool:
        now = time.monotonic()
        due = phase != self._phase or complete or now - self._spoke >= SECONDS_BETWEEN_LINES
        if due:
            self._phase, self._spoke = phase, now
        return due

    def _close_line(self) -> None:
        if self._line_open:
            self._write(self.err, "")
            self._line_open = False

    @staticmethod
    def _write(stream: TextIO, text: str, end: str = "\n") -> None:
        try:
            stream.write(text + end)
            stream.flush()
        except BrokenPipeError:  # whoever read it has gone (das ... | head); a shot is not given up for that
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


class JsonReporter(Reporter):
    """For programs: one JSON object a line on ``out``, told apart by its ``event``."""

    def progress(self, phase: str, step: int, total: int, eta: float | None = None) -> None:
        self.event("progress", phase=phase, step=step, total=total, eta=eta)

    def note(self, sentence: str) -> None:
        self.event("note", message=sentence)

    def event(self, name: str, **fields) -> None:
        self._write(self.out, json.dumps({"event": name, **fields}, default=str))

    def saved(self, file: Path) -> None:
        self.event("saved", file=file.absolute())

    def result(self, text: str, **fields) -> None:
        self.event("result", **fields)

    def error(self, error: DasError) -> None:
        self.event("error", kind=error.kind, message=error.message, fix=error.fix, exit_code=error.exit_code)
        super().error(error)


def part_from_blender(reporter: Reporter, log: Path) -> None:
    """From now on the reporter owns stdout and stderr, and what anybody else prints goes to ``log``.

    Blender prints render, file and driver lines, some of them through Python, and a file's scripts may print too:
    that would break JSON and the progress bar. With DAS_DEBUG set it goes to stderr.
    """
    reporter.out, reporter.err = _own_stream(1), _own_stream(2)
    noise = os.dup(2) if debugging() else _open_log(log)
    sys.stdout = sys.stderr = os.fdopen(os.dup(noise), "w", encoding="utf-8", errors="replace", buffering=1)
    os.dup2(noise, 1)
    os.dup2(noise, 2)
    os.close(noise)


def _own_stream(number: int) -> TextIO:
    (sys.stdout if number == 1 else sys.stderr).flush()
    return os.fdopen(os.dup(number), "w", encoding="utf-8", errors="replace", buffering=1)


def _open_log(log: Path) -> int:
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        return os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    except OSError:  # nowhere to keep it: a folder that cannot be written is told where it is needed
        return os.open(os.devnull, os.O_WRONLY)


def debugging() -> bool:
    """DAS_DEBUG asks for tracebacks and Blender's own messages."""
    return bool(os.environ.get("DAS_DEBUG"))
