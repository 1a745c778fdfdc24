"""Who needs the backend: one lease a connected client, and when nobody is left."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable

STARTING_SECONDS = 30.0


class Leases:
    """Leases by holder. With ``seconds`` None the backend is needed for ever (``das serve``).

    A backend is given STARTING_SECONDS to get its first lease. Once the last lease is *lost* (its holder
    vanished) it stays needed for ``seconds``; once the last is *released* it is not needed at all.
    """

    def __init__(self, seconds: float | None, clock: Callable[[], float] = time.monotonic):
        self._seconds = seconds
        self._clock = clock
        self._holders: set[Hashable] = set()
        self._needed_until = clock() + STARTING_SECONDS

    def take(self, holder: Hashable) -> None:
        self._holders.add(holder)

    def release(self, holder: Hashable) -> None:
        """The holder goes of its own will."""
        self._end(holder, 0.0)

    def lose(self, holder: Hashable) -> None:
        """The holder has vanished; it may come back within ``seconds``."""
        self._end(holder, self._seconds or 0.0)

    def needed(self) -> bool:
        return self._seconds is None or bool(self._holders) or self._clock() < self._needed_until

    def _end(self, holder: Hashable, grace: float) -> None:
        if holder in self._holders:
            self._holders.discard(holder)
            self._needed_until = self._clock() + grace
