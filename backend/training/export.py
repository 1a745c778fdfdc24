"""A run's weights in the published layout: a folder that the engine loads like any other checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

from ...shared.errors import GenerationError, UsageError, first_line
from ...shared.files import link_or_copy
from ..models.checkpoint import Checkpoint
from . import checkpoints, parameters
from .config import TrainConfig

SHARD = "5GB"


def export(config: TrainConfig, trained: Path, output: Path, told: Callable[[str], None] = lambda part: None) -> Path:
    """Write base weights with a checkpoint's trained ones, LoRA merged, into a new folder, whole or not at all.

    The other components are the base's files, linked where the disk allows it. UsageError where the folder is not empty or the
    checkpoint does not fit the base; GenerationError where it cannot be written.
    """
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} exists already and is not empty.", "Choose a new folder with -o.")
    base, saved = Checkpoint(config.weights, from_base=config.from_base), checkpoints.load(trained)
    told("load")
    transformer = base.transformer()
    dtype = transformer.dtype
    parameters.make_trainable(transformer, config)
    parameters.load_trained(transformer, saved.trained, str(trained))
    parameters.merge(transformer, config.method)
    partial = output.with_name(f"{output.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        told("write")
        for parameter in transformer.parameters():
            parameter.data = parameter.data.to(dtype)  # diffusers' own to() warns of an empty list
        transformer.save_pretrained(partial / "transformer", max_shard_size=SHARD)
        _link_others(base.place.folder, partial)
        made = {"step": saved.state.step, "method": config.method, "base": base.name, "versions": saved.state.versions}
        (partial / "training.json").write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
        if output.exists():
            output.rmdir()
        partial.replace(output)
    except OSError as error:
        raise GenerationError(f"{output} cannot be written: {first_line(error)}.", "Free some space, or choose another folder.") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return output


def _link_others(base: Path, goal: Path) -> None:
    for name in ("vae", "text_encoder", "tokenizer", "scheduler"):
        shutil.copytree(base / name, goal / name, copy_function=_link)
    shutil.copy2(base / "model_index.json", goal / "model_index.json")


def _link(source: str, goal: str) -> None:
    link_or_copy(Path(source).resolve(), Path(goal))
