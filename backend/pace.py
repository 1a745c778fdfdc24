"""How long a phase will still take, from the times that its steps have taken."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Callable

RECENT_STEPS = 8
SECONDS_BETWEEN_REPORTS = 0.1


class Pace:
    """Step times of the phase at hand, and whether a report is due."""

    def __init__(self, clock: Callable[[], float] = time.monotonic):
        self._clock = clock
        self._phase = ""
        self._recent: deque[float] = deque(maxlen=RECENT_STEPS)
        self._at, self._step, self._reported = clock(), 0, float("-inf")

    def eta(self, phase: str, step: int, total: int) -> float | None:
        """Seconds to the end of the phase by the median of recent steps; None until one has been timed."""
        now = self._clock()
        if phase != self._phase:
            self._phase, self._step, self._at, self._reported = phase, step, now, float("-inf")
            self._recent.clear()
        elif step > self._step:
            self._recent.append((now - self._at) / (step - self._step))
            self._step, self._at = step, now
        return statistics.median(self._recent) * (total - step) if self._recent else None

    def due(self, step: int, total: int) -> bool:
        """A report is due: the first of a phase, its last, or one after some time."""
        now = self._clock()
        if step < total and now - self._reported < SECONDS_BETWEEN_REPORTS:
            return False
        self._reported = now
        return True
