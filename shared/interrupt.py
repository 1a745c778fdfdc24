"""Ctrl-C that cancels properly."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager


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
