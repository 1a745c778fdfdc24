"""Denoising: schedules, guidance and samplers as free functions with the papers' names.

x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e, with a_t the cumulative product of alphas (1 - a_999 = 1: the last timestep is pure
noise), and the model gives v = sqrt(a_t) e - sqrt(1 - a_t) x_0. DDIM: arXiv 2010.02502; DPM-Solver++ (2M, SDE): arXiv
2211.01095 as CogVideoX uses it; guidance: arXiv 2207.12598; trailing timesteps: arXiv 2305.08891, table 2.

A sampler steps to the noise level of its *next* timestep. diffusers' schedulers step by 1000 // steps instead, which is
the same where steps divides 1000 and leaves noise in the result where it does not (7 steps, for example).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import torch
from diffusers.models.embeddings import get_3d_rotary_pos_embed
from diffusers.pipelines.cogvideo.pipeline_cogvideox_image2video import get_resize_crop_region_for_grid

from ...shared.errors import Cancelled, UsageError
from ...shared.request import Guidance, Scheduler
from .transformer import DaSTransformer3DModel

Model = Callable[[torch.Tensor, int, int], torch.Tensor]  # x_t, timestep, step -> v
Noise = Callable[[], torch.Tensor]


class Schedule(NamedTuple):
    """``timesteps`` from noise to clean; ``alphas`` float64, one more: a_t at each, and where the last step arrives."""

    timesteps: list[int]
    alphas: list[torch.Tensor]


class Step(NamedTuple):
    """One step is done: ``x`` is what it arrived at, ``x0`` the clean latents it foresaw."""

    index: int
    x: torch.Tensor
    x0: torch.Tensor


class Conditions(NamedTuple):
    """What the transformer sees beside x_t. Texts [1,L,D]; image [1,F,C,h,w]; tracking [1,F,2C,h,w]."""

    text: torch.Tensor
    negative: torch.Tensor
    image: torch.Tensor
    tracking: torch.Tensor


def trailing_schedule(scheduler, steps: int) -> Schedule:
    """Timesteps spaced evenly that end at the last one of training, with the alphas of a diffusers scheduler."""
    if scheduler.config.prediction_type != "v_prediction":
        raise UsageError(
            f"The checkpoint's scheduler predicts {scheduler.config.prediction_type}, not v.",
            "Choose weights of CogVideoX or Diffusion as Shader.",
        )
    count = scheduler.config.num_train_timesteps
    if not 1 <= steps <= count:
        raise UsageError(f"{steps} steps are not possible.", f"Choose from 1 to {count} steps.")
    timesteps = [round(count * (steps - i) / steps) - 1 for i in range(steps)]
    table = scheduler.alphas_cumprod.double()
    return Schedule(timesteps, [table[t] for t in timesteps] + [torch.as_tensor(scheduler.final_alpha_cumprod).double()])


def guidance_scale(kind: Guidance, scale: float, schedule: Schedule) -> list[float]:
    """The scale of each step.

    ``dynamic`` rises smoothly from 1 to 1 + scale by step, as CogVideoX was meant to be sampled; ``reference`` puts the
    raw timestep where that has the step, as diffusers and the reference do: the scale jumps between 1 and 1 + scale.
    """
    steps = len(schedule.timesteps)
    if kind == "constant":
        return [scale] * steps
    done = range(steps) if kind == "dynamic" else [steps - t for t in schedule.timesteps]
    return [1 + scale * ((1 - math.cos(math.pi * (i / steps) ** 5.0)) / 2) for i in done]


def guided(transformer: DaSTransformer3DModel, conditions: Conditions, scales: list[float], *, batched: bool = True) -> Model:
    """The transformer as a Model, with classifier-free guidance. A scale of 1 throughout costs no second pass.

    ``batched`` gives both passes at once; without, one after the other at half the activations' memory.
    """
    rotary = rotary_embedding(transformer, conditions.image)
    maps = {"tracking_maps": conditions.tracking}
    alone = all(scale == 1 for scale in scales)

    def forward(x: torch.Tensor, t: int, text: torch.Tensor, context: str) -> torch.Tensor:
        count = len(text)
        seen = torch.cat([x.to(conditions.image.dtype), conditions.image], dim=2).repeat(count, 1, 1, 1, 1)
        timestep = torch.full((count,), t, device=x.device)
        with transformer.cache_context(context):
            v = transformer(seen, text, timestep, image_rotary_emb=rotary, attention_kwargs=maps, return_dict=False)[0]
        return v.to(x.dtype)

    both = torch.cat([conditions.negative, conditions.text])

    def model(x: torch.Tensor, t: int, step: int) -> torch.Tensor:
        if alone:
            return forward(x, t, conditions.text, "cond")
        if batched:
            without, given = forward(x, t, both, "cond_uncond").chunk(2)
        else:
            without, given = forward(x, t, conditions.negative, "uncond"), forward(x, t, conditions.text, "cond")
        return without + scales[step] * (given - without)

    return model


def rotary_embedding(transformer: DaSTransformer3DModel, latents: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor] | None:
    """Cosines and sines of the tokens' places, for latents [1,F,C,h,w]; None where the model has learned positions."""
    config, patch = transformer.config, transformer.config.patch_size
    if not config.use_rotary_positional_embeddings:
        return None
    frames, height, width = latents.shape[1], latents.shape[-2] // patch, latents.shape[-1] // patch
    crop = get_resize_crop_region_for_grid((height, width), config.sample_width // patch, config.sample_height // patch)
    return get_3d_rotary_pos_embed(
        embed_dim=config.attention_head_dim,
        crops_coords=crop,
        grid_size=(height, width),
        temporal_size=frames,
        device=latents.device,
    )


def sample(kind: Scheduler, model: Model, x: torch.Tensor, schedule: Schedule, noise: Noise) -> Iterator[Step]:
    """Denoise x [1,F,C,h,w], pure noise at first, step by step. The last step's x is the result."""
    return sample_ddim(model, x, schedule) if kind == "ddim" else sample_dpm(model, x, schedule, noise)


@torch.no_grad()
def sample_ddim(model: Model, x: torch.Tensor, schedule: Schedule) -> Iterator[Step]:
    """DDIM without noise."""
    for i, t in enumerate(schedule.timesteps):
        a, a_next = schedule.alphas[i : i + 2]
        x0 = predicted_x0(x, model(x, t, i), a)
        ratio = ((1 - a_next) / (1 - a)) ** 0.5
        x = ratio * x + (a_next**0.5 - a**0.5 * ratio) * x0
        yield Step(i, x, x0)


@torch.no_grad()
def sample_dpm(model: Model, x: torch.Tensor, schedule: Schedule, noise: Noise) -> Iterator[Step]:
    """DPM-Solver++ (2M, SDE): the first and the last step are of first order.

    ``noise`` is drawn twice in a step of second order and once in others: diffusers does so, and a seed shall mean the same.
    """
    lambdas = [((a / (1 - a)) ** 0.5).log() for a in schedule.alphas]
    last, before = len(schedule.timesteps) - 1, None
    for i, t in enumerate(schedule.timesteps):
        a, a_next = schedule.alphas[i : i + 2]
        h = lambdas[i + 1] - lambdas[i]
        x0 = predicted_x0(x, model(x, t, i), a)
        fresh, d = noise(), x0
        if 0 < i < last:
            r = (lambdas[i] - lambdas[i - 1]) / h
            fresh, d = noise(), (1 + 1 / (2 * r)) * x0 - 1 / (2 * r) * before
        keep, push = ((1 - a_next) / (1 - a)) ** 0.5 * (-h).exp(), (-2 * h).expm1() * a_next**0.5
        x = keep * x - push * d + (1 - a_next) ** 0.5 * (1 - (-2 * h).exp()) ** 0.5 * fresh
        before = x0
        yield Step(i, x, x0)


def predicted_x0(x: torch.Tensor, v: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    """sqrt(a) x - sqrt(1 - a) v."""
    return a**0.5 * x - (1 - a) ** 0.5 * v


def drawn(generator: torch.Generator, like: torch.Tensor) -> Noise:
    """Noise of a tensor's shape, drawn where the generator is and moved to the tensor."""
    return lambda: torch.randn(like.shape, generator=generator, dtype=like.dtype).to(like.device)


@contextmanager
def cancellable(transformer: DaSTransformer3DModel, cancelled: Callable[[], bool]) -> Iterator[None]:
    """Inside, every block of the transformer first asks whether to go on, and raises Cancelled where not.

    A main block and its tracking block ask together, in front of what torch.compile makes of them.
    """

    def ask(*_) -> None:
        if cancelled():
            raise Cancelled("The generation was cancelled.")

    handles = [pair.register_forward_pre_hook(ask) for pair in transformer.pairs]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
