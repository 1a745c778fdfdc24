"""A worker as the server sees it, whatever it runs on, and where workers can be."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable
from typing import Protocol

import msgspec

from ..shared import messages
from ..shared.errors import BackendError
from ..shared.messages import EngineInfo
from ..shared.request import GenerationRequest

Hear = Callable[[bytes, messages.Message], Awaitable[None]]


class Device(msgspec.Struct, frozen=True):
    """Where a worker runs. ``visible`` is its CUDA_VISIBLE_DEVICES, None where that stays as it is; ``memory`` in bytes, 0 unknown."""

    name: str = "CPU"
    visible: str | None = None
    memory: int = 0


class WorkerLine:
    """One worker: ``ready`` once it has said what its engines can do, ``job`` while it runs one.

    ``heard`` is when it last said anything, ``loaded`` which engine it keeps. ``ending`` says why it is being ended, ``hung``
    that it had to be for its silence, ``releasing`` that it was told to give memory back.
    """

    def __init__(self):
        self.name = f"worker-{uuid.uuid4().hex}".encode()
        self.ready = self.hung = self.releasing = False
        self.job: str | None = None
        self.cancel_by: float | None = None
        self.heard = 0.0
        self.ending = self.loaded = ""

    @property
    def idle(self) -> bool:
        return self.ready and self.job is None and not self.ending

    @property
    def pid(self) -> int:
        raise NotImplementedError

    async def order(self, message: messages.Message) -> None:
        """Tell it something; what it answers is heard elsewhere."""
        raise NotImplementedError

    async def ended(self) -> str:
        """Wait until it has ended; how it did, in words that follow 'ended'."""
        raise NotImplementedError

    async def stop(self) -> bool:
        """End it, ever harder; whether it has ended."""
        raise NotImplementedError


class Site(Protocol):
    """This machine, or a cluster: where workers can be. ``lost`` says why there can be none for now, if so."""

    lost: BackendError | None

    def devices(self) -> list[Device]:
        """A device for each worker that can be now, always in the same order."""

    def start(self, device: Device, hear: Hear) -> WorkerLine:
        """Another worker there, which may still be on its way. What it says goes to ``hear`` with its name."""

    async def look(self) -> dict[Device, int]:
        """See what has changed since; bytes of memory that are free, of those devices of which this is known."""

    async def close(self) -> None:
        """No worker is wanted any more."""


class Slot:
    """A device, its worker if it has one, and what is known of it: ``engines`` of its last worker, bytes of ``memory`` and how
    many of them are ``free``, and the ``place`` in words."""

    def __init__(self, device: Device):
        self.device = device
        self.worker: WorkerLine | None = None
        self.engines: list[EngineInfo] = []
        self.place, self.memory, self.free = device.name, device.memory, device.memory
        self.failed_starts = 0
        self.not_before = 0.0  # by the server's clock: a worker is not started again sooner

    def serves(self, request: GenerationRequest) -> bool:
        """Whether its engine can be used."""
        return any(each.name == request.engine and each.unfit(request) != "unavailable" for each in self.engines)

    def knows(self, engine: str) -> bool:
        return any(each.name == engine for each in self.engines)
