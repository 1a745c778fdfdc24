"""Work that is done in steps: a generator that returns what has come of it."""

from __future__ import annotations

from collections.abc import Generator
from typing import TypeVar

Made = TypeVar("Made")


def returned(steps: Generator[object, None, Made]) -> Made:
    """Step to the end; what is returned there."""
    while True:
        try:
            next(steps)
        except StopIteration as end:
            return end.value
