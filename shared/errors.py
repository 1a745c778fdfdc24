"""Errors that a user sees: one sentence of what is wrong, one of what to do, and the exit code."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

DONE = 0
CANCELLED = 130


class DasError(Exception):
    """An error with its fix. ``str(error)`` is both sentences; ``exit_code`` is the command's.

    ``action`` names what mends it where a button can, such as ``install_backend``: the panel knows the button.
    """

    exit_code = 1
    kind = "internal"

    def __init__(self, message: str, fix: str = "", action: str = ""):
        super().__init__(f"{message} {fix}".strip())
        self.message = message
        self.fix = fix
        self.action = action


def first_line(error: Exception) -> str:
    """What an error of somebody else's says, its first line without the full stop, or else its type: a part of a sentence."""
    return str(error).strip().split("\n")[0].rstrip(".") or type(error).__name__


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """A question with the nearest name, empty where none is near: a fix, or its beginning."""
    near = difflib.get_close_matches(name, list(known), 1)
    return f"Did you mean {near[0]}?" if near else ""


class UsageError(DasError):
    """The request, an option or a path is wrong (exit code 2)."""

    exit_code = 2
    kind = "usage"


class SceneError(DasError):
    """The scene cannot be used: no camera, nothing visible, unsupported projection (exit code 3)."""

    exit_code = 3
    kind = "scene"


class BackendError(DasError):
    """No backend could be reached or started, or it speaks another protocol (exit code 4)."""

    exit_code = 4
    kind = "backend"


class GenerationError(DasError):
    """The generation failed after it had started (exit code 5)."""

    exit_code = 5
    kind = "generation"


class Cancelled(DasError):
    """The user asked to stop (exit code 130)."""

    exit_code = CANCELLED
    kind = "cancelled"
