"""A library's call that runs for minutes, as a generator: it tells each step, and can be left between two parts of a step."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from torch import nn

from ...shared.errors import Cancelled

SECONDS_BETWEEN_LOOKS = 0.05
Step, Result = TypeVar("Step"), TypeVar("Result")


class _Left(Exception):
    """Unwinds the library's call."""


def stepwise(
    work: Callable[[Callable[[Step], None]], Result], models: Iterable[nn.Module], cancelled: Callable[[], bool]
) -> Generator[Step, None, Result]:
    """Run ``work(told)`` in a thread of its own; yields what it calls ``told`` with, and returns its result.

    ``cancelled`` is asked in the caller's thread, and raises Cancelled. The call ends in front of the next block of one of
    ``models`` then, and also where the generator is closed; either way the thread has ended when this is left.
    """
    steps, leave = queue.SimpleQueue(), threading.Event()
    with ThreadPoolExecutor(1) as pool, _asking(models, leave):
        future = pool.submit(work, steps.put)
        try:
            while not future.done() or not steps.empty():
                if cancelled():
                    raise Cancelled("The generation was cancelled.")
                try:
                    yield steps.get(timeout=SECONDS_BETWEEN_LOOKS)
                except queue.Empty:
                    continue
            return future.result()
        finally:
            leave.set()
            del future  # its error would keep the call's frames, and with them the models


@contextmanager
def _asking(models: Iterable[nn.Module], leave: threading.Event) -> Iterator[None]:
    def ask(*_) -> None:
        if leave.is_set():
            raise _Left

    blocks = [block for model in models for part in model.modules() if isinstance(part, nn.ModuleList) for block in part]
    handles = [block.register_forward_pre_hook(ask) for block in blocks]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
