"""`das camera-control FILE.blend`: the scene's first frame, with its exact depth, seen by a moving camera."""

from __future__ import annotations

import argparse

from ...shared.report import Reporter
from .scene_file import run_task


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return run_task(args, reporter, "camera_control")
