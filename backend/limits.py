"""What the backend takes from its clients, and from any one of them, before it refuses.

All clients of a backend belong to one user and have the same key. These bounds keep a client that runs wild from harming
the others; they do not stop somebody who has the key (docs/security.md).
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from ..shared import wire

MAX_CLIENTS = 256
MAX_WAITING = 1000  # jobs of all clients
MAX_WAITING_OF_ONE = 200  # jobs
INBOX_MESSAGES = 256
MESSAGES_A_SECOND, MESSAGES_AT_ONCE = 500.0, 1000.0  # of one client
ANSWERS_A_SECOND, ANSWERS_AT_ONCE = 100.0, 200.0  # to all who have not said hello
SHARE_OF_MEMORY = 4  # a message is there twice while its arrays are put together, and its client may be on this machine too


class TokenBucket:
    """``rate`` tokens a second come in, at most ``capacity`` are kept. Each message costs one."""

    def __init__(self, rate: float, capacity: float, clock: Callable[[], float] = time.monotonic):
        self._rate, self._capacity, self._clock = rate, capacity, clock
        self._tokens, self._at = capacity, clock()

    def take(self) -> bool:
        """Pay one; False, and nothing is paid, where there is none."""
        if self.wait() > 0:
            return False
        self._tokens -= 1
        return True

    def wait(self) -> float:
        """Seconds until there is one."""
        now = self._clock()
        self._tokens = min(self._capacity, self._tokens + max(0.0, now - self._at) * self._rate)
        self._at = now
        return max(0.0, (1 - self._tokens) / self._rate)


def message_bytes() -> int:
    """How many bytes of messages may wait: the protocol's bound, or a quarter of this machine's memory."""
    return min(wire.MAX_MESSAGE_BYTES, machine_memory() // SHARE_OF_MEMORY)


def machine_memory() -> int:
    """Bytes of main memory."""
    return psutil.virtual_memory().total
