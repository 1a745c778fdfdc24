"""A command's talk with the backend: a client of it, and what is told of a job's events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from . import messages
from .client import Client
from .errors import Cancelled
from .generation import reach_backend, told_in
from .report import Reporter
from .take import Take

PATIENCE = 0.2  # seconds that one look for events may wait
SECONDS_BETWEEN_LOOKS = 0.05


@contextmanager
def backend_of(take: Take, stopped: list[bool]) -> Iterator[Client]:
    """A client of the backend; a take that gets none is marked failed, or cancelled."""
    with told_in(take):
        peer = _reached(stopped)
    with peer:
        yield peer


@contextmanager
def any_backend(stopped: list[bool]) -> Iterator[Client]:
    """A client of the backend, for takes that are finished."""
    with _reached(stopped) as peer:
        yield peer


def _reached(stopped: list[bool]) -> Client:
    for peer in reach_backend("das"):
        if stopped:
            raise Cancelled("Cancelled while the backend was started.")
        if peer is None:
            time.sleep(SECONDS_BETWEEN_LOOKS)
    return peer


def tell_events(events: Iterator[messages.Message | None], take: Take, reporter: Reporter) -> None:
    """Follow a job of the take to its end."""
    for event in events:
        if isinstance(event, messages.Progress):
            reporter.progress(event.phase, event.step, event.total, event.eta)
        elif isinstance(event, messages.Frame):
            reporter.event("frame", index=event.index, file=take.frame_file(event.index))
            reporter.saved(take.frame_file(event.index))
