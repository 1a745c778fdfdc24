"""A lease on the backend for the whole night, so that it keeps its model between takes."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress

from . import backend_process
from .client import Client, connect
from .errors import BackendError, Cancelled
from .generation import reach_backend
from .messages import EngineInfo

NAME = "das batch"
SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_BETWEEN_RETURNS = 5.0


class Lease:
    """Holds it from the first :meth:`keep` to :meth:`close`. A backend that is replaced meanwhile is held too."""

    def __init__(self, cancelled: Callable[[], bool]):
        self._client = self._reach(cancelled)
        self._looked = time.monotonic()

    @property
    def engines(self) -> list[EngineInfo]:
        return self._client.engines

    @property
    def workers(self) -> int:
        """How many jobs the backend does at a time."""
        return max(len(self._client.welcome.workers), 1)

    def keep(self) -> None:
        """To be called several times a second. Blocks only while it joins a backend that was started since."""
        self._client.hear()
        if self._client.is_gone() and time.monotonic() - self._looked > SECONDS_BETWEEN_RETURNS:
            self._looked = time.monotonic()
            if found := backend_process.find_backend():
                with suppress(BackendError):  # looked for again in a while; a take that needs one starts it
                    self._replace(connect(found, NAME))

    def close(self) -> None:
        self._client.close()

    def _replace(self, client: Client) -> None:
        self._client.abandon()
        self._client = client

    @staticmethod
    def _reach(cancelled: Callable[[], bool]) -> Client:
        for client in reach_backend(NAME):
            if cancelled():
                raise Cancelled("Cancelled while the backend was started.")
            if client is not None:
                return client
            time.sleep(SECONDS_BETWEEN_LOOKS)
        raise AssertionError("reach_backend() ends with a client or an error")
