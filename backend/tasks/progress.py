"""Progress out of a function that reports by a callback, for generators that yield it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from ...shared.errors import Cancelled
from ..engines import Progress

T = TypeVar("T")
SECONDS_BETWEEN_LOOKS = 0.05


def told(
    phase: str, work: Callable[[Callable[[int, int], None], Callable[[], bool]], T], cancelled: Callable[[], bool]
) -> Iterator[Progress]:
    """Yields the Progress of ``work(progress, cancelled)``, which runs in a thread, and returns its result.

    ``cancelled`` itself is asked in the caller's thread alone: a worker's looks at a socket, which only one may use. Where
    the generator is closed early, the work is told that it is cancelled, and waited for.
    """
    steps: queue.SimpleQueue = queue.SimpleQueue()
    left = threading.Event()
    with ThreadPoolExecutor(1, thread_name_prefix=phase) as pool:
        future: Future[T] = pool.submit(work, lambda step, total: steps.put((step, total)), left.is_set)
        future.add_done_callback(lambda done: steps.put(None))
        try:
            while (step := _next(steps, left, cancelled)) is not None:
                yield Progress(phase, *step)
        finally:
            left.set()
    return future.result()


def _next(steps: queue.SimpleQueue, left: threading.Event, cancelled: Callable[[], bool]) -> tuple[int, int] | None:
    """What is put in next; ``left`` is set meanwhile once ``cancelled()``."""
    while True:
        if not left.is_set() and cancelled():
            left.set()
        try:
            return steps.get(timeout=SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            continue


def stop_if(cancelled: Callable[[], bool]) -> None:
    """Cancelled where ``cancelled()``."""
    if cancelled():
        raise Cancelled("The preparation was cancelled.")
