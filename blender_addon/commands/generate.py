"""`das generate FILE`: from the scene to the finished video. `das generate TAKE`: from a take, as the backend's room does."""

from __future__ import annotations

import argparse

from ...shared import take_command
from ...shared.best_of import check_best_of, generate_best
from ...shared.report import Reporter
from ..images import BlenderImages
from .scene_file import run_job


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    if args.target and args.target.is_dir():
        return take_command.generate_take(args, reporter, BlenderImages())
    check_best_of(args.best_of)
    if args.best_of is not None:
        return generate_best(run_job(args, reporter, args.target, "track"), args.best_of, reporter)
    return take_command.tell_made(run_job(args, reporter, args.target, "generate"), args, reporter)
