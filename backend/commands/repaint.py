"""`das repaint TAKE`: the take's first frame painted anew along its depth."""

from __future__ import annotations

import argparse

from ...shared.report import Reporter
from ...shared.take_command import repaint_take
from ..images import ImageioImages


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return repaint_take(args, reporter, ImageioImages())
