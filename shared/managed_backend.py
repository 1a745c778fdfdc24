"""The backend's environment that the add-on's preferences have made by install/managed_backend.py; read from its stamp."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec

from . import home
from .errors import UsageError

Kind = Literal["projection", "model", "model-cpu"]
STAMP = "das-environment.json"


class ManagedBackend(msgspec.Struct, frozen=True):
    """What its stamp says. ``version`` is that of our code, ``python`` that of its Python, ``place`` its folder."""

    state: str
    version: str
    kind: Kind
    python: str
    place: str

    @property
    def works(self) -> bool:
        """It is finished, and its Python still there: a Blender whose Python it is made from may have been removed."""
        return self.state == "ready" and any((Path(self.place) / "env" / name).exists() for name in ("bin/python", "Scripts/python.exe"))


def find_managed() -> ManagedBackend | None:
    """The one in environments.json; None where there is none. UsageError where a file cannot be read."""
    for entry in home.known_environments():
        if entry.name == home.MANAGED_ENVIRONMENT:
            return _read_stamp(Path(entry.python).parents[2] / STAMP)
    return None


def _read_stamp(file: Path) -> ManagedBackend | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=ManagedBackend)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", "Repair the backend in the add-on's preferences.") from None
