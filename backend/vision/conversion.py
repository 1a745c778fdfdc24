"""Weights that their authors publish as a pickle become safetensors, once, where `das models pull` has fetched them.

The only place that opens such a file: after its hash was compared, and by torch's restricted reader, which makes nothing but
tensors and plain values of it. Engine and worker read safetensors alone.
"""

from __future__ import annotations

import json
import pickle
from pathlib import Path

import torch
from safetensors.torch import save_file

from ...shared.errors import first_line
from ..models.weights import WeightsError
from .catalogue import SideModel


def convert(model: SideModel, folder: Path) -> Path:
    """model.safetensors, with config.json where the pickle holds a configuration; whole or not at all. Its file.

    WeightsError where the pickle is not what this model's authors publish.
    """
    made = folder / "model.safetensors"
    if made.exists():
        return made
    config, state = _read(folder / model.pickled)
    if config:
        (folder / "config.json").write_text(json.dumps(config, indent=1), encoding="utf-8")
    partial = made.with_name(made.name + ".partial")
    try:
        save_file({name: tensor.contiguous() for name, tensor in state.items()}, partial)
        partial.replace(made)
    except OSError as error:
        raise WeightsError(f"{made} cannot be written: {error.strerror or error}.", "Free some space and pull again.") from error
    finally:
        partial.unlink(missing_ok=True)
    return made


def _read(file: Path) -> tuple[dict, dict[str, torch.Tensor]]:
    """Configuration, empty where there is none, and weights."""
    try:
        stored = torch.load(file, map_location="cpu", weights_only=True)
        config, state = stored.get("model_config", {}), stored.get("model", stored)
        if not state or not all(isinstance(tensor, torch.Tensor) for tensor in state.values()):
            raise TypeError("it holds other things than tensors")
    except (RuntimeError, OSError, EOFError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{file} cannot be read as weights: {first_line(error)}.", "Delete its folder and pull it again.") from error
    return config, state
