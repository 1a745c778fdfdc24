"""DAS_HOME: where connection file, environments, spool, logs and models lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

import msgspec
import platformdirs

from .errors import UsageError

Room = Literal["backend", "blender"]
MODEL_ENVIRONMENT = "model"  # the name of the backend's Python that has torch
MANAGED_ENVIRONMENT = "preferences"  # and of the one that the add-on's preferences have made
PROJECTION_KIND = "projection"  # of an environment without torch


class Environment(msgspec.Struct, frozen=True):
    """One Python that serves a room. ``blender`` is its bpy version, None in the backend's; ``kind`` is what Preferences have
    made (:data:`managed_backend.Kind`), empty elsewhere."""

    room: Room
    name: str
    python: str
    blender: str | None = None
    kind: str = ""

    @property
    def rank(self) -> int:
        """Those of a lower rank are used before others: first who has the model, and the user's choice in Preferences."""
        chosen, has_model = self.name == MANAGED_ENVIRONMENT, self.name == MODEL_ENVIRONMENT
        if chosen:
            return 2 if self.kind == PROJECTION_KIND else 0
        return 1 if has_model else 3


class Environments(msgspec.Struct):
    """environments.json, written by install/ and by Preferences alike."""

    version: int = 1
    environments: list[Environment] = []


def home() -> Path:
    """The folder itself: the variable DAS_HOME, or the user's state folder."""
    chosen = os.environ.get("DAS_HOME")
    return Path(chosen) if chosen else Path(platformdirs.user_state_dir("diffusion_as_shader", appauthor=False))


def connection_file() -> Path:
    """The connection file of this user's own backend."""
    return home() / "connection.json"


def chosen_connection() -> Path | None:
    """The connection file that the variable DAS_CONNECTION names: of a backend that is used as it is, and never started."""
    chosen = os.environ.get("DAS_CONNECTION")
    return Path(chosen) if chosen else None


def spool_folder() -> Path:
    return home() / "spool"


def log_folder() -> Path:
    return home() / "logs"


def model_folder() -> Path:
    """Where weights are kept; several users or machines may share one by DAS_MODELS."""
    chosen = os.environ.get("DAS_MODELS")
    return Path(chosen) if chosen else home() / "models"


def environments_file() -> Path:
    return home() / "environments.json"


def environments(room: Room) -> list[Environment]:
    """The Pythons that serve a room and still exist, by rank and in the order of the file: before all others the one that the
    add-on's preferences have made, but where it is for projection alone, after one with the model."""
    serving = [entry for entry in known_environments() if entry.room == room and Path(entry.python).exists()]
    return sorted(serving, key=lambda entry: entry.rank)


def known_environments() -> list[Environment]:
    """All that environments.json names. UsageError where it cannot be read."""
    try:
        content = environments_file().read_bytes()
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UsageError(
            f"{environments_file()} cannot be read: {error.strerror}.", "Set DAS_HOME to a folder of yours."
        ) from None
    try:
        return msgspec.json.decode(content, type=Environments).environments
    except msgspec.MsgspecError as error:
        raise UsageError(
            f"{environments_file()} cannot be read: {error}.", "Delete it and run python3 install/run.py setup."
        ) from None
