"""DAS_HOME and environments.json as the package's shared/home.py reads them, with the standard library alone."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from .errors import InstallError

NAME = "diffusion_as_shader"


def home() -> Path:
    """The variable DAS_HOME, or what platformdirs calls the user's state folder (a test compares the two)."""
    chosen = os.environ.get("DAS_HOME")
    return Path(chosen) if chosen else _state_folder() / NAME


def _state_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    chosen = os.environ.get("XDG_STATE_HOME", "").strip()
    if os.path.isabs(chosen):
        return Path(chosen)
    return Path.home() / ("Library/Application Support" if sys.platform == "darwin" else ".local/state")


def register(entries: list[dict], folder: Path) -> None:
    """Write entries (room, name, python, blender) into folder/environments.json; others' entries stay.

    Raises InstallError if the file there cannot be read or written.
    """
    names = {entry["name"] for entry in entries}
    _replace([*(entry for entry in known(folder) if entry.get("name") not in names), *entries], folder)


def unregister(name: str, folder: Path) -> None:
    """Take one entry out of folder/environments.json; the others stay. InstallError as :func:`register`."""
    _replace([entry for entry in known(folder) if entry.get("name") != name], folder)


def _replace(entries: list[dict], folder: Path) -> None:
    if entries != known(folder):
        write_json(folder / "environments.json", {"version": 1, "environments": entries})


def known(folder: Path) -> list[dict]:
    """The entries of folder/environments.json. InstallError where it cannot be read."""
    path = folder / "environments.json"
    try:
        return json.loads(path.read_text(encoding="utf-8"))["environments"]
    except FileNotFoundError:
        return []
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InstallError(f"{path} cannot be read: {error}.", "Delete it and run this again.") from None


def write_json(path: Path, content: dict) -> None:
    """Write whole or not at all: under another name first."""
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise InstallError(f"{path} cannot be written: {error}.", "Free or choose another place by DAS_HOME.") from None
