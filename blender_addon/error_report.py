"""An error for those who can mend it: what happened, with which versions, and the end of the log."""

from __future__ import annotations

import importlib.metadata
import platform
import tomllib
from pathlib import Path

import bpy
import numpy as np

from ..shared import home
from ..shared.backend_process import log_file
from ..shared.privacy import without_names
from .preferences import takes_folder
from .telling import Telling
from .upkeep import install_log

LINES = 60  # of the log
DEPENDENCIES = ("msgspec", "pyzmq", "platformdirs")


def report_of_job(told: Telling) -> str:
    """What was last said of a job, with everything beside it that helps, and no private name."""
    return _report(told, log_file())


def report_of_upkeep(told: Telling) -> str:
    """The same of an installation, or what else Preferences do."""
    return _report(told, install_log())


def _report(told: Telling, log: Path) -> str:
    parts = [f"{told.message} {told.fix}".strip(), told.traceback, _versions(), _log_tail(log)]
    folders = [home.home(), *filter(None, [takes_folder()])]
    if bpy.data.filepath:
        folders.append(Path(bpy.data.filepath).parent)
    return without_names("\n\n".join(filter(None, parts)), folders) + "\n"


def _versions() -> str:
    manifest = Path(__file__).parents[1] / "blender_manifest.toml"
    own = tomllib.loads(manifest.read_text(encoding="utf-8"))["version"]
    found = [f"numpy {np.__version__}", *(f"{name} {importlib.metadata.version(name)}" for name in DEPENDENCIES)]
    return (
        f"Diffusion as Shader {own}, Blender {bpy.app.version_string}, Python {platform.python_version()}\n"
        f"{platform.platform()}, {platform.machine()}\n{', '.join(found)}"
    )


def _log_tail(file: Path) -> str:
    """Empty where nothing has been written into it yet."""
    if not file.is_file():
        return ""
    lines = file.read_text(encoding="utf-8", errors="replace").splitlines()[-LINES:]
    return "\n".join([f"The end of {file.name}:", *lines])
