"""`das score TAKE...` where Blender reads the pictures; the backend tracks."""

from __future__ import annotations

import argparse

from ...shared.report import Reporter
from ...shared.score_command import score_command
from ..images import BlenderImages


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return score_command(args, reporter, BlenderImages())
