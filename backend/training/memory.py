"""What a training run needs on its card, before it begins: weights, gradients, optimiser, activations. GB are 1e9 bytes.

Of activations the factor is counted on the real blocks (tests/model/training/test_memory.py does so on a small network).
"""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from ..models.costs import GB, Network
from .config import TrainConfig
from .data import Size

# What autograd keeps of one block for its backward pass, in tensors of [B,S,D] of the type that it computes in: of a block that
# is trained, of one that is frozen and only passes the gradient on, and of one with LoRA on its attention.
KEPT_TRAINED, KEPT_FROZEN, KEPT_LORA = 23.6, 12.6, 14.7
STATE_BYTES = {"adamw": 8, "adamw8bit": 2}
LORA_LINEARS = 4  # of each block's attention


class Plan(NamedTuple):
    """Bytes on one card."""

    frozen: int
    trained: int
    gradients: int
    optimizer: int
    activations: int
    vae: int

    @property
    def total(self) -> int:
        return sum(self)

    def sentence(self) -> str:
        parts = ", ".join(f"{name} {value / GB:.2f}" for name, value in self._asdict().items() if value)
        return f"Memory expected on each card: {self.total / GB:.2f} GB ({parts})."


def plan(of: Network, config: TrainConfig, size: Size, dtype_bytes: int) -> Plan:
    """Of the configuration, for its largest clips. Trained weights are float32; what is frozen has ``dtype_bytes``."""
    count = trained_parameters(of, config)
    frozen = of.transformer - (0 if config.method == "lora" else count)
    return Plan(
        frozen=frozen * dtype_bytes,
        trained=4 * count,
        gradients=4 * count,
        optimizer=STATE_BYTES[config.optimizer] * count,
        activations=_activations(of, config, size, dtype_bytes),
        vae=of.vae * dtype_bytes,
    )


def trained_parameters(of: Network, config: TrainConfig) -> int:
    """How many numbers the method trains."""
    linears = of.tracking_blocks + 1
    if config.method == "lora":
        return 2 * of.width * config.lora_rank * (LORA_LINEARS * (of.blocks + of.tracking_blocks) + linears)
    return of.tracking_blocks * of.block + linears * (of.width**2 + of.width)


def alternatives(of: Network, config: TrainConfig, size: Size, dtype_bytes: int) -> list[tuple[str, Plan]]:
    """Other strategies and what they need, by what to set."""
    changes = [
        ("as configured", {}),
        ("gradient_checkpointing = false", {"gradient_checkpointing": False}),
        ('optimizer = "adamw8bit"', {"optimizer": "adamw8bit"}),
        ("micro_batch = 1", {"micro_batch": 1}),
        ('method = "lora"', {"method": "lora"}),
        ('method = "lora", micro_batch = 1', {"method": "lora", "micro_batch": 1}),
    ]
    plans, seen = [], []
    for name, change in changes:
        changed = msgspec.structs.replace(config, **change)
        if changed not in seen:
            seen.append(changed)
            plans.append((name, plan(of, changed, size, dtype_bytes)))
    return plans


def _activations(of: Network, config: TrainConfig, size: Size, dtype_bytes: int) -> int:
    tokens = of.tokens(*size) + of.text_tokens
    one = config.micro_batch * tokens * of.width * dtype_bytes
    main, side = (KEPT_LORA, KEPT_LORA) if config.method == "lora" else (KEPT_FROZEN, KEPT_TRAINED)
    if not config.gradient_checkpointing:
        return round((main * of.blocks + side * of.tracking_blocks) * one)
    # Of each unit its inputs, video with text and the tracking; and all of the one unit that is made again.
    return round((of.blocks + of.tracking_blocks + main + side) * one)
