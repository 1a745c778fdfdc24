"""`das batch`, with the pictures of this environment."""

from __future__ import annotations

import argparse
import sys

from ...shared import batch
from ...shared.report import Reporter
from ...shared.request import GenerationRequest
from ..images import ImageioImages


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    command = [sys.executable, "-m", __package__.split(".")[0]]
    return batch.run(args, reporter, ImageioImages(), command, memory_of)


def memory_of(request: GenerationRequest) -> str:
    """What the engine is expected to need."""
    return "unknown"
