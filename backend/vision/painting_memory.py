"""The memory plans of :mod:`..models.plans`, for painting one picture: those of them that serve, and what each needs."""

from __future__ import annotations

from ..models import plans
from ..models.plans import Machine, Need, NoMemory, Plan
from .painters import Painter, Sizes

# Weights of 8 bits are left out: one picture is soon made, and blocks streamed from main memory are exact.
SERVE = ("full", "stream", "leaf", "cpu", "cpu-small")
DECODE_BYTES, ENCODE_BYTES = 1540, 1290  # for each pixel, of the VAE of both models in 16 bits; counted as those of costs.py
TILE = 1024  # pixels, of the VAE's side where it works in tiles


def need(plan: Plan, sizes: Sizes, activations: float, size: tuple[int, int]) -> Need:
    """The expected peaks. ``activations`` are those of a step in 16 bits; ``size`` is (width, height) as painted."""
    number = plan.dtype.itemsize
    on_card = {"none": sizes.network, "block": min(sizes.by_blocks, sizes.network), "leaf": min(sizes.by_layers, sizes.network)}[plan.offload]
    text, vae = sizes.text * number, sizes.vae * number
    stays = vae + (on_card * number if plan.offload == "none" else 0)
    pixels = min(size[0], TILE) * min(size[1], TILE) if plan.tiled else size[0] * size[1]
    needed = Need(
        text=text if plan.text_device == plan.device else 0,
        encode=stays + ENCODE_BYTES * pixels * number / 2,
        denoise=vae + on_card * number + activations * number / 2,
        decode=stays + DECODE_BYTES * pixels * number / 2,
        main=max(0 if plan.offload == "none" else sizes.network * number, text if plan.text_device == "cpu" else 0),
    )
    return needed._replace(main=needed.peak) if plan.device == "cpu" else needed


def fitting(machine: Machine, asked: str, painter: Painter, size: tuple[int, int]) -> list[tuple[Plan, Need]]:
    """The plans that can be expected to run, the best first; the one that is asked for alone, where it serves.

    NoMemory, with what the smallest plan would need, where there is none.
    """
    sizes, activations = painter.sizes(), painter.activations(*size)
    serving = [(plan, need(plan, sizes, activations, size)) for plan in plans.PLANS if plan.name in SERVE and plan.device == machine.device]
    if chosen := [one for one in serving if one[0].name == asked]:
        return chosen
    found = [one for one in serving if not plans.shortfall(one[0], machine, one[1])]
    if not found:
        last, needed = serving[-1]
        raise NoMemory(
            f"No memory plan fits {painter.title} on {machine.name}: {last.name} {plans.shortfall(last, machine, needed)}.",
            "End other programs that use the memory, choose another model for the repaint, or bring a picture of your own.",
        )
    return found
