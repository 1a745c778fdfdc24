"""`das batch` inside Blender: its pictures by Blender, each of its commands in a process of its own."""

from __future__ import annotations

import argparse
import sys

import bpy

from ...shared import batch
from ...shared.report import Reporter
from ..images import BlenderImages


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return batch.run(args, reporter, BlenderImages(), _command(), lambda request: "unknown")


def _command() -> list[str]:
    """`das` in a process of its own: by this program where it is Blender, else by this Python."""
    if bpy.app.binary_path:
        return [bpy.app.binary_path, "--background", "--command", "das"]
    package = __package__.rpartition(".blender_addon")[0]
    return [sys.executable, "-m", package]
