"""The parser of `das farm`."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_farm_command(add, everywhere: argparse.ArgumentParser, parser_class: type[argparse.ArgumentParser]) -> None:
    farm = add("farm", "Give a render farm what it needs to know: flamenco, deadline.")
    farms = farm.add_subparsers(dest="farm", required=True, metavar="FARM", parser_class=parser_class)

    help = "Show Flamenco's job type script, or install it."
    flamenco = farms.add_parser("flamenco", help=help, description=help, parents=[everywhere])
    flamenco.add_argument("--install", type=Path, metavar="FOLDER", help="the folder of flamenco-manager, or its folder scripts")

    help = "Write a job of Deadline's CommandLine plugin, a task a seed."
    deadline = farms.add_parser(
        "deadline", help=help, description=help, usage="das farm deadline FILE|TAKE -o FOLDER [--seeds 1-4] [--das PROGRAM] [OPTIONS OF das generate]"
    )
    deadline.add_argument("words", nargs=argparse.REMAINDER, help="as in the usage; FILE or TAKE first")
