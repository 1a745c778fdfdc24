"""Videos that the model makes of clips held out, beside their tracking and the true clip, and how near they come."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
import torch
from diffusers import CogVideoXDDIMScheduler
from einops import rearrange

from ...shared.errors import UsageError
from ...shared.psnr import psnr
from ...shared.track_files import read_tracks
from ...shared.true_tracks import from_first_frame
from ..images import ImageioImages
from ..models import decode, latents, sampling
from ..vision.control import score_video
from . import loss, order
from .data import Clips, Sample, Source, read_pictures
from .loop import Trainer, as_latents
from .validation import SEED

FPS = 8.0


def make(trainer: Trainer, clips: Clips, numbers: list[int], conditioner: loss.Conditioner, session, step: int) -> dict[str, float]:
    """Write samples/step-000500/NAME.mp4, spread over all processes; the means of PSNR and, where true tracks are known, of the
    control score (:mod:`...vision.control`)."""
    accelerator = trainer.accelerator
    folder = session.run / "samples" / f"step-{step:06d}"
    sums = torch.zeros(4, device=accelerator.device, dtype=torch.float64)  # PSNR and its count, score and its count
    trainer.transformer.eval()
    for place in range(accelerator.process_index, len(numbers), accelerator.num_processes):
        source = clips.sources[numbers[place]]
        truth = read_pictures(source)
        made = sample(trainer, clips[SEED, place, numbers[place]], conditioner, session.checkpoint.scheduler_config(), session.config.sample_steps)
        _write(folder / f"{source.clip.name}.mp4", [truth.tracking, made, truth.video])
        score = control(source, made)
        sums += torch.tensor([psnr(made[1:], truth.video[1:]), 1.0, score or 0.0, float(score is not None)]).to(sums)
    trainer.transformer.train()
    sums = accelerator.reduce(sums, "sum").tolist()
    named = {"psnr": sums[:2], "control_score": sums[2:]}
    return {name: total / count for name, (total, count) in named.items() if count}


def control(source: Source, made: np.ndarray) -> float | None:
    """How well a video keeps to the clip's true tracks, 0 to 1; None where they are not known at its size, or nothing moves."""
    record = source.clip.record
    if not source.clip.tracks or record is None or (record.width, record.height) != source.size[:2]:
        return None
    try:
        tracks = from_first_frame(read_tracks(source.clip.tracks))
    except UsageError:  # no point of the first frame is seen in the second
        return None
    shown = msgspec.structs.replace(tracks, xy=tracks.xy[: len(made)], visible=tracks.visible[: len(made)])
    return score_video(made, shown).value


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
