"""`das track FILE`: tracking video, first frame and camera path into a take, ready to be generated from anywhere."""

from __future__ import annotations

import argparse

from ...shared.report import Reporter
from .scene_file import run_job


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    take = run_job(args, reporter, args.file, "track")
    for sentence in take.record.notes:
        reporter.note(sentence)
    reporter.result(
        f"{take.folder}\nMake its video with: das generate {take.folder}",
        take=str(take.folder.resolve()),
        state=take.record.state,
        timings=take.record.timings,
        notes=take.record.notes,
    )
    return 0
