"""Ctrl-C that cancels properly."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def interrupt_postponed() -> Iterator[None]:
    """Ctrl-C within raises KeyboardInterrupt at the end: Blender loses it while it starts or opens a file, or breaks."""
    asked: list[bool] = []
    before = signal.signal(signal.SIGINT, lambda number, frame: asked.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
    if asked:
        raise KeyboardInterrupt


@contextmanager
def cancelled_by_signal(cancel: Callable[[], None]) -> Iterator[None]:
    """The first SIGINT or SIGTERM calls ``cancel``; a second one raises KeyboardInterrupt.

    Nothing is raised at first: inside a render callback Blender would swallow it.
    """

    def first(number, frame):
        cancel()
        signal.signal(number, signal.default_int_handler)

    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.signal(number, first) for number in numbers]
    try:
        yield
    finally:
        for number, handler in zip(numbers, before):
            signal.signal(number, handler)
