"""`das track FILE`: tracking video, first frame and camera path into a take, ready to be generated from anywhere."""

from __future__ import annotations

import argparse

from ...shared.report import Reporter
from ...shared.take_command import tell_prepared
from .check import check_first
from .scene_file import run_job


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    if args.check:
        check_first(args, reporter)
    tell_prepared(run_job(args, reporter, args.file, "track"), reporter)
    return 0
