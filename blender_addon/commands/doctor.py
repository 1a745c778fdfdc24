"""`das doctor` in Blender's Python: its version, and how tracking videos are drawn here."""

from __future__ import annotations

import argparse
import platform

import bpy

from ...shared import doctor
from ...shared.report import Reporter
from ..capture.draw import choose_drawer


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return doctor.run(args, reporter, "blender", {"version": version, "drawing": drawing})


def version() -> str:
    return f"Blender {bpy.app.version_string}, Python {platform.python_version()}"


def drawing() -> str:
    """The route that capture takes, and why where it is the slow one."""
    drawer, note = choose_drawer()
    return note or f"by the graphics card's route, {type(drawer).__name__}"
