"""`das batch` inside Blender: its pictures by Blender, each of its commands in a process of its own."""

from __future__ import annotations

import argparse

from ...shared import batch
from ...shared.report import Reporter
from ..child_process import das_command
from ..images import BlenderImages


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return batch.run(args, reporter, BlenderImages(), das_command(), lambda request: "unknown")
