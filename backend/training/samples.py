"""Videos that the model makes of clips held out, beside their tracking and the true clip, and how near they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from diffusers import CogVideoXDDIMScheduler
from einops import rearrange

from ...shared.psnr import psnr
from ..images import ImageioImages
from ..models import decode, latents, sampling
from . import loss, order
from .data import Clips, Sample, read_pictures
from .loop import Trainer, as_latents
from .validation import SEED

FPS = 8.0


def make(trainer: Trainer, clips: Clips, numbers: list[int], conditioner: loss.Conditioner, session, step: int) -> dict[str, float]:
    """Write samples/step-000500/NAME.mp4, spread over all processes; the means of PSNR and of what else can be said."""
    accelerator = trainer.accelerator
    own = list(enumerate(numbers))[accelerator.process_index :: accelerator.num_processes]
    folder = session.run / "samples" / f"step-{step:06d}"
    totals = torch.zeros(2, device=accelerator.device, dtype=torch.float64)
    trainer.transformer.eval()
    for place, number in own:
        truth = read_pictures(clips.sources[number])
        made = sample(trainer, clips[SEED, place, number], conditioner, session.checkpoint.scheduler_config(), session.config.sample_steps)
        _write(folder / f"{clips.sources[number].clip.name}.mp4", [truth.tracking, made, truth.video])
        totals += torch.tensor([psnr(made[1:], truth.video[1:]), 1.0]).to(totals)
    trainer.transformer.train()
    totals = accelerator.reduce(totals, "sum")
    return {"psnr": (totals[0] / totals[1]).item()} if totals[1] else {}


@torch.no_grad()
def sample(trainer: Trainer, given: Sample, conditioner: loss.Conditioner, scheduler: dict, steps: int) -> np.ndarray:
    """u8 [T,H,W,3]: DDIM without guidance, of noise that is the same for a clip at each step of a run."""
    random = order.generator(SEED, given.step, given.place)
    examples = conditioner([as_latents(conditioner.vae, given.clip)], [given.text], [random])
    conditions = sampling.Conditions(examples.text, examples.text, examples.image, examples.tracking)
    schedule = sampling.trailing_schedule(CogVideoXDDIMScheduler.from_config(scheduler), steps)
    model = sampling.guided(trainer.plain, conditions, [1.0] * steps)
    x = examples.noise
    with trainer.accelerator.autocast():
        for one in sampling.sample_ddim(model, x, schedule):
            x = one.x
    return np.concatenate(list(_decoded(conditioner.vae, x)))


def _decoded(vae, x: torch.Tensor) -> Iterator[np.ndarray]:
    z = rearrange(x / vae.config.scaling_factor, "1 f c h w -> 1 c f h w").to(vae.dtype)
    for pictures in decode.decode(vae, z):
        yield latents.to_frames(pictures)


def _write(file: Path, videos: list[np.ndarray]) -> None:
    """Side by side."""
    file.parent.mkdir(parents=True, exist_ok=True)
    frames = np.concatenate(videos, axis=2)
    ImageioImages().write_h264(file, frames, FPS)
