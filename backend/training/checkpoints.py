"""What is kept of a run: the trained weights, the optimiser's state and the step, in a folder a checkpoint.

checkpoints/step-000500/
    trained.safetensors     the trained parameters by name, float32
    optimizer.safetensors   the optimiser's tensors as STATE/PARAMETER
    state.json              step, seed, versions, and what of the optimiser is no tensor

Clips and draws follow from seed and step (:mod:`order`), and the learning rate from the step: position in the data, random
states and schedule are these two numbers. A folder gets its name when it is whole and on the disk.
"""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from ...shared.errors import GenerationError, UsageError, first_line

NAME = re.compile(r"step-(\d+)")


class State(msgspec.Struct, kw_only=True):
    """state.json. ``step`` steps are done, with ``seed`` and ``method``; ``optimizer`` is what of its state is no tensor, by parameter."""

    step: int
    seed: int
    method: str
    versions: dict[str, str] = {}
    optimizer: dict[str, dict[str, Any]] = {}


class Saved(msgspec.Struct, kw_only=True, frozen=True):
    """A checkpoint in memory."""

    state: State
    trained: dict[str, torch.Tensor]
    optimizer: dict[str, torch.Tensor]


class Checkpoints:
    """Those of one run's folder; the last ``keep`` stay."""

    def __init__(self, run: Path, keep: int):
        self.folder = run / "checkpoints"
        self._keep = keep

    def found(self) -> list[Path]:
        """Whole ones, oldest first."""
        named = (path for path in self.folder.glob("step-*") if NAME.fullmatch(path.name) and (path / "state.json").is_file())
        return sorted(named, key=lambda path: int(NAME.fullmatch(path.name)[1]))

    def save(self, saved: Saved) -> Path:
        """Write one and delete those that are too many. GenerationError where the disk does not take it: what was there stays."""
        goal = self.folder / f"step-{saved.state.step:06d}"
        partial = goal.with_name(f"{goal.name}.partial")
        try:
            shutil.rmtree(partial, ignore_errors=True)
            partial.mkdir(parents=True)
            save_file(saved.trained, partial / "trained.safetensors")
            save_file(saved.optimizer, partial / "optimizer.safetensors")
            (partial / "state.json").write_bytes(msgspec.json.format(msgspec.json.encode(saved.state), indent=1))
            for file in partial.iterdir():
                _to_disk(file)
            if goal.exists():
                shutil.rmtree(goal)
            partial.replace(goal)
        except (OSError, SafetensorError) as error:
            shutil.rmtree(partial, ignore_errors=True)
            last = f"The last checkpoint is {self.found()[-1]}." if self.found() else "There is no checkpoint yet."
            raise GenerationError(
                f"The checkpoint of step {saved.state.step} cannot be written: {first_line(error)}. {last}", "Free some space and go on with --resume."
            ) from error
        for old in self.found()[: -self._keep]:
            shutil.rmtree(old)
        return goal


def load(folder: Path) -> Saved:
    """UsageError where it is not whole or cannot be read."""
    try:
        state = msgspec.json.decode((folder / "state.json").read_bytes(), type=State)
        return Saved(state=state, trained=load_file(folder / "trained.safetensors"), optimizer=load_file(folder / "optimizer.safetensors"))
    except (OSError, SafetensorError, msgspec.MsgspecError) as error:
        raise UsageError(f"The checkpoint {folder} cannot be read: {first_line(error)}.", "Delete it, and go on from the one before.") from error


def optimizer_state(optimizer: torch.optim.Optimizer, names: list[str]) -> tuple[dict[str, torch.Tensor], dict[str, dict[str, Any]]]:
    """Its tensors by STATE/PARAMETER, and the rest by parameter; ``names`` in the order of its parameters."""
    tensors, rest = {}, {}
    for index, entries in optimizer.state_dict()["state"].items():
        name = names[index]
        for key, value in entries.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{key}/{name}"] = value.detach().cpu().contiguous().clone()
            else:
                rest.setdefault(name, {})[key] = value
    return tensors, rest


def restore_optimizer(optimizer: torch.optim.Optimizer, names: list[str], saved: Saved) -> None:
    """Bring an optimiser of the same parameters to a checkpoint's state. Its groups stay as the configuration made them."""
    states: dict[int, dict[str, Any]] = {index: dict(saved.state.optimizer.get(name, {})) for index, name in enumerate(names)}
    places = {name: index for index, name in enumerate(names)}
    for key, tensor in saved.optimizer.items():
        state, _, name = key.partition("/")
        states[places[name]][state] = tensor
    whole = optimizer.state_dict()
    optimizer.load_state_dict({"state": {index: state for index, state in states.items() if state}, "param_groups": whole["param_groups"]})


def _to_disk(file: Path) -> None:
    with file.open("rb+") as opened:
        os.fsync(opened.fileno())
