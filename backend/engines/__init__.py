"""Engines: what turns signals into frames. One small interface, one table *name -> class*.

A worker imports an engine's module by name, so a module that cannot be imported costs only its own engine.
Importing a module must be cheap: libraries that take seconds to load are imported in :meth:`Engine.load`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Iterator
from typing import Protocol

import msgspec
import numpy as np

from ...shared.errors import DasError
from ...shared.messages import EngineInfo
from ...shared.request import GenerationRequest

TABLE = {"projection": ".projection:ProjectionEngine", "das": ".das:DasEngine"}
# Engines that are not ours, and those of the tests: name=module:Class, separated by commas.
EXTRA_ENGINES = "DAS_EXTRA_ENGINES"


class Progress(msgspec.Struct, frozen=True):
    """``step`` of ``total`` of a phase is done."""

    phase: str
    step: int
    total: int


class Preview(msgspec.Struct, frozen=True):
    """A coarse look at what is being made: u8 [T',H',W',3], of any smaller size and count."""

    frames: np.ndarray


class Frame(msgspec.Struct, frozen=True):
    """A finished result, u8 [H,W,3]; ``index`` counts from 0."""

    index: int
    pixels: np.ndarray


class Report(msgspec.Struct, frozen=True):
    """What the engine used and chose: signal names, fallbacks in a sentence each, hashes and versions."""

    used: list[str]
    notes: list[str] = []
    versions: dict[str, str] = {}


Event = Progress | Preview | Frame | Report


class Engine(Protocol):
    """What a worker asks of an engine. A DasError raised here reaches the user with its fix."""

    name: str

    def capabilities(self) -> EngineInfo:
        """What it can do on this machine, without loading anything."""

    def load(self, request: GenerationRequest) -> None:
        """Make ready for a request; called before each generation, and cheap when nothing changed."""

    def generate(
        self,
        request: GenerationRequest,
        signals: dict[str, np.ndarray],
        *,
        cancelled: Callable[[], bool],
        have: frozenset[int] = frozenset(),
    ) -> Iterator[Event]:
        """Every frame once, in any order, and one Report. Returns early, or raises Cancelled, once ``cancelled()``.

        ``signals`` (DESIGN's table, K and world_to_camera) are read-only and memory-mapped. Frames ``have`` were made by an
        attempt before that was broken off, and are left out: by an engine whose capabilities say ``resumes``, as others
        are never given any.
        """

    def release(self) -> None:
        """Give back what is held in memory; the next load brings it again. Called when no job has come for a while."""


def engine_table() -> dict[str, str]:
    """Name -> "module:Class"; modules that start with a dot are of this package."""
    extra = os.environ.get(EXTRA_ENGINES, "")
    return TABLE | dict(entry.split("=", 1) for entry in extra.split(",") if entry)


def make_engine(name: str) -> Engine:
    """The engine of a name; whatever its module's import raises."""
    module, _, attribute = engine_table()[name].partition(":")
    return getattr(importlib.import_module(module, __package__), attribute)()


def engine_infos() -> list[EngineInfo]:
    """Every engine of the table; one that cannot be used here says why."""
    return [_info(name) for name in engine_table()]


def _info(name: str) -> EngineInfo:
    try:
        return make_engine(name).capabilities()
    except DasError as error:
        return EngineInfo(name=name, available=False, reason=error.message, fix=error.fix)
    except Exception as error:  # a broken third-party library must not hide the other engines
        fix = "Make the backend's environment again with python3 install/run.py setup."
        return EngineInfo(name=name, available=False, reason=f"{type(error).__name__}: {error}.", fix=fix)
