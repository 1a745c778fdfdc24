"""`das farm`, the same in every room."""

from __future__ import annotations

import argparse

from ..report import Reporter
from . import deadline, flamenco


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return {"flamenco": flamenco, "deadline": deadline}[args.farm].run(args, reporter)
