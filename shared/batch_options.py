"""The command line's options of `das batch`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_batch_command(add, blender: argparse.ArgumentParser) -> None:
    batch = add("batch", "Make all shots of a file, one after the other and overlapping, with a page of what came out.", blender)
    batch.add_argument("file", type=Path, metavar="SHOTS", help="a .toml file of shots (docs/batch.md)")
    batch.add_argument("-o", dest="output", type=Path, metavar="OUT", help="the folder of the takes (default: das/NAME beside the file)")
    batch.add_argument("--dry-run", action="store_true", help="say what would run, with the time and memory expected, and do nothing")
    batch.add_argument("--resume", action="store_true", help="go on in OUT: make only what is missing or changed")
    batch.add_argument("--keep-going", action="store_true", help="after a failure go on with the other shots")
    batch.add_argument("--jobs", type=int, default=1, metavar="N", help="how many captures at a time (default: %(default)s)")
    batch.add_argument(
        "--connection", type=Path, metavar="FILE", help="use the backend of this connection file, also on another machine (default: your own)"
    )
