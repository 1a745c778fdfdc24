"""Work that is done in steps: a generator that returns what has come of it."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import TypeVar

Yielded = TypeVar("Yielded")
Made = TypeVar("Made")


def returned(steps: Generator[Yielded, None, Made], each: Callable[[Yielded], object] = lambda step: None) -> Made:
    """Step to the end, with ``each`` called on what is yielded on the way; what is returned there."""
    while True:
        try:
            step = next(steps)
        except StopIteration as end:
            return end.value
        each(step)
