"""What is trained and what stays: the tracking branch with its linears, or LoRA on the branch and the main blocks."""

from __future__ import annotations

import torch
from torch import nn

from ...shared.errors import UsageError
from ..models.transformer import TRACKING_PARTS, DaSTransformer3DModel
from .config import Method, TrainConfig

# The linears of attention in every block, and those that bring the tracking into the main stream.
LORA_TARGETS = r"(transformer_blocks|transformer_blocks_copy)\.\d+\.attn1\.(to_q|to_k|to_v|to_out\.0)|combine_linears\.\d+|initial_combine_linear"


def make_trainable(transformer: DaSTransformer3DModel, config: TrainConfig) -> dict[str, nn.Parameter]:
    """Freeze all but what the method trains, which is in float32 from now on; its parameters by name. In place."""
    transformer.requires_grad_(False)
    if config.method == "lora":
        add_lora(transformer, config.lora_rank, config.lora_alpha, config.seed)
    else:
        for name, parameter in transformer.named_parameters():
            parameter.requires_grad_(name.startswith(TRACKING_PARTS))
    chosen = trained(transformer)
    for parameter in chosen.values():
        parameter.data = parameter.data.float()
    return chosen


def trained(transformer: DaSTransformer3DModel) -> dict[str, nn.Parameter]:
    """The parameters that ask for a gradient, by name."""
    return {name: parameter for name, parameter in transformer.named_parameters() if parameter.requires_grad}


def add_lora(transformer: DaSTransformer3DModel, rank: int, alpha: float, seed: int) -> None:
    """Low-rank additions (arXiv 2106.09685) that change nothing at first."""
    from peft import LoraConfig

    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        transformer.add_adapter(LoraConfig(r=rank, lora_alpha=alpha, target_modules=LORA_TARGETS))


def merge(transformer: DaSTransformer3DModel, method: Method) -> None:
    """Make the additions part of the weights, so that what is left is the published layout. In place."""
    if method == "lora":
        transformer.fuse_lora()
        transformer.unload_lora()


def load_trained(transformer: DaSTransformer3DModel, tensors: dict[str, torch.Tensor], where: str) -> None:
    """Set the trained parameters. UsageError where names or shapes are another architecture's."""
    own = trained(transformer)
    found = {name: tuple(tensor.shape) for name, tensor in tensors.items()}
    wanted = {name: tuple(parameter.shape) for name, parameter in own.items()}
    if found != wanted:
        different = sorted(name for name in found.keys() | wanted.keys() if found.get(name) != wanted.get(name))
        raise UsageError(
            f"{where} is of another architecture or method: {different[0]} differs, and {len(different) - 1} more.",
            "Use the weights and the method that it was trained with.",
        )
    with torch.no_grad():
        for name, parameter in own.items():
            parameter.copy_(tensors[name])
