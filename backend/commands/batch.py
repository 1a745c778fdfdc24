"""`das batch`, with the pictures of this environment."""

from __future__ import annotations

import argparse
import importlib.util
import sys

from ...shared import batch
from ...shared.errors import DasError
from ...shared.report import Reporter
from ...shared.request import GenerationRequest
from ..images import ImageioImages


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    package = __package__.rpartition(".backend")[0]
    return batch.run(args, reporter, ImageioImages(), [sys.executable, "-m", package], memory_of)


def memory_of(request: GenerationRequest) -> str:
    """What the model is expected to need on this machine, with weights of the published size; 'unknown' of other engines."""
    if request.engine != "das" or importlib.util.find_spec("torch") is None:
        return "unknown"
    from ..models import costs, plans

    try:
        choice = plans.choose(plans.machine_for(request.memory_plan), costs.PUBLISHED, request, plans.Remembered())
    except DasError as error:
        return error.message.rstrip(".")
    return f"{plans.gigabytes(choice.need.peak)} with the plan {choice.plan.name}"
