"""`das export RUN -o FOLDER`: a training run's weights as a checkpoint that the engine loads."""

from __future__ import annotations

import argparse
from pathlib import Path

import msgspec

from ...shared.errors import UsageError
from ...shared.report import Reporter
from ..training import export
from ..training.checkpoints import Checkpoints
from ..training.config import TrainConfig
from ..training.session import CONFIG

PARTS = ("load", "write")


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    config = _config(args.run)
    trained = _chosen(args.run, args.step, config)
    made = export.export(config, trained, args.output, lambda part: reporter.progress("export", PARTS.index(part), len(PARTS)))
    reporter.progress("export", len(PARTS), len(PARTS))
    reporter.result(f"{made}\nUse it with das generate --engine das --weights {made}, or choose the folder in Blender.", folder=str(made), trained=str(trained))
    return 0


def _config(run: Path) -> TrainConfig:
    try:
        return msgspec.json.decode((run / CONFIG).read_bytes(), type=TrainConfig)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{run} is no training run: {CONFIG} cannot be read.", "Give the output folder of das train.") from error


def _chosen(run: Path, step: int | None, config: TrainConfig) -> Path:
    found = Checkpoints(run, config.keep).found()
    chosen = [one for one in found if step is None or one.name == f"step-{step:06d}"]
    if not chosen:
        here = ", ".join(one.name for one in found) or "none"
        raise UsageError(f"{run} has no such checkpoint; there are: {here}.", "Choose one of them with --step.")
    return chosen[-1]
