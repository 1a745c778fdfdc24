"""Progress out of a function that reports by a callback, for generators that yield it."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ...shared.errors import Cancelled
from ..engines import Progress

T = TypeVar("T")


def told(
    phase: str, work: Callable[[Callable[[int, int], None], Callable[[], bool]], T], cancelled: Callable[[], bool]
) -> Iterator[Progress]:
    """Yields the Progress of ``work(progress, cancelled)``, which runs in a thread, and returns its result.

    Where the generator is closed early, the work is told that it is cancelled, and waited for.
    """
    steps: queue.SimpleQueue = queue.SimpleQueue()
    left = False
    with ThreadPoolExecutor(1, thread_name_prefix=phase) as pool:
        future: Future[T] = pool.submit(work, lambda step, total: steps.put((step, total)), lambda: left or cancelled())
        future.add_done_callback(lambda done: steps.put(None))
        try:
            while (step := steps.get()) is not None:
                yield Progress(phase, *step)
        finally:
            left = True
    return future.result()


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Cancelled where ``cancelled()``."""
    if cancelled():
        raise Cancelled("The preparation was cancelled.")
