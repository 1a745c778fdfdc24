"""`das object-manipulation FILE.blend`: an object moves in the scene's first frame, by its matte and exact depth."""

from __future__ import annotations

import argparse

from ...shared.report import Reporter
from .scene_file import run_task


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return run_task(args, reporter, "object_manipulation")
