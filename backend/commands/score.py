"""`das score TAKE...`: how well finished takes keep to the motion that was asked for, the best of several first."""

from __future__ import annotations

import argparse

from ...shared.report import Reporter
from ...shared.score_command import score_command
from ..images import ImageioImages


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return score_command(args, reporter, ImageioImages())
