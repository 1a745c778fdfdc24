"""This machine as a place for workers: one a card, or one on the processor."""

from __future__ import annotations

import asyncio
import csv
import importlib.util
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from typing import NamedTuple

from ..shared.errors import UsageError
from .worker_line import Device, Hear, WorkerLine

SECONDS_TO_ASK = 10.0
SECONDS_BETWEEN_LOOKS = 5.0
QUESTION = ("index", "uuid", "name", "memory.total", "memory.free")


class Card(NamedTuple):
    """An NVIDIA card as its driver tells of it; memory in bytes."""

    index: str
    uuid: str
    name: str
    memory: int
    free: int


class ThisMachine:
    """worker_line.Site on one machine. ``workers`` None: one a card; ``start`` makes a worker process on a device, which
    is heard by the server's socket."""

    lost = None

    def __init__(self, start: Callable[[Device], WorkerLine], workers: int | None = None):
        self._start = start
        self._devices = find_devices(workers)
        self._looked = 0.0

    def devices(self) -> list[Device]:
        return self._devices

    def start(self, device: Device, hear: Hear) -> WorkerLine:
        return self._start(device)

    async def look(self) -> dict[Device, int]:
        """Asked for only where there is a choice."""
        if len(self._devices) < 2 or self._devices[0].visible is None or time.monotonic() - self._looked < SECONDS_BETWEEN_LOOKS:
            return {}
        self._looked = time.monotonic()
        cards = await asyncio.to_thread(find_cards)
        return {device: card.free for device in self._devices if (card := _card(cards, device.visible))}

    async def close(self) -> None:
        """Processes are ended one by one."""


def find_devices(workers: int | None = None) -> list[Device]:
    """A device for each worker of this machine; as many as ``workers`` says, UsageError where there are fewer cards."""
    devices = _cards() or [Device(f"CPU {number + 1}" if workers and workers > 1 else "CPU") for number in range(workers or 1)]
    if workers and workers > len(devices):
        count = f"{len(devices)} card{'s' * (len(devices) > 1)}"
        raise UsageError(f"This machine has {count}, one worker each, and {workers} workers were asked for.", f"Give --workers {len(devices)}, or leave it out.")
    return devices[:workers]


def _cards() -> list[Device]:
    """The cards that workers can use: those of CUDA_VISIBLE_DEVICES, in its words, else all. None without torch."""
    if importlib.util.find_spec("torch") is None:
        return []
    cards, wanted = find_cards(), os.environ.get("CUDA_VISIBLE_DEVICES")
    if wanted is None:
        return [_device(card.index, card.uuid if len(cards) > 1 else None, card) for card in cards]
    names = [name.strip() for name in wanted.split(",") if name.strip() not in ("", "-1")]
    return [_device(name, name, _card(cards, name)) for name in names] if cards else []


def _device(number: str, visible: str | None, card: Card | None) -> Device:
    return Device(f"card {number}: {card.name}" if card else f"card {number}", visible, card.memory if card else 0)


def _card(cards: list[Card], name: str | None) -> Card | None:
    """The card that an entry of CUDA_VISIBLE_DEVICES means: a number, or the beginning of its UUID."""
    return next((card for card in cards if name and (name == card.index or card.uuid.startswith(name))), None)


def find_cards() -> list[Card]:
    """The NVIDIA cards of this machine, asked of their driver; torch is not needed for it."""
    if not (program := shutil.which("nvidia-smi")):
        return []
    command = [program, f"--query-gpu={','.join(QUESTION)}", "--format=csv,noheader,nounits"]
    try:
        told = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=SECONDS_TO_ASK)
    except (OSError, subprocess.TimeoutExpired):
        return []
    rows = [row for row in csv.reader(told.stdout.splitlines(), skipinitialspace=True) if len(row) == len(QUESTION)]
    return [Card(*row[:3], *map(_bytes, row[3:])) for row in rows] if told.returncode == 0 else []


def _bytes(mebibytes: str) -> int:
    return int(mebibytes) << 20 if mebibytes.strip().isdigit() else 0  # '[N/A]' where a driver does not say
