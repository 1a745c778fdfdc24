"""A stand-in of the published base: CogVideoX in small, which makes videos of a first frame and knows nothing of tracking.

It learns on drawn shapes that go anywhere in any colour, all of its weights, by the same error of v. What das train makes of it
is then the tracking branch alone, as with the published weights. Its VAE is that of :mod:`tiny_training`: mean colours.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import torch
from diffusers import CogVideoXDDIMScheduler, CogVideoXTransformer3DModel
from einops import rearrange, repeat
from tiny_training import HEIGHT, TEXT_LENGTH, WIDTH, Clips, Scene, draw, examples, mean_colour_vae, paint, random_noise

from diffusion_as_shader.backend.models import sampling, text
from diffusion_as_shader.backend.models.checkpoint import Checkpoint
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint

SHAPES, CLIPS, LAYERS, BATCH, RATE = 3, 512, 2, 8, 5e-3
OWN = ("num_tracking_blocks",)  # of a configuration, what the base does not have


def write_base(folder: Path, seed: int = 0, *, steps: int = 250, frames: int = 17) -> Path:
    """Into a new folder; a minute of one core. The same seed gives the same weights on one machine."""
    write_tiny_checkpoint(folder, seed, num_layers=LAYERS, tracking_blocks=LAYERS)
    checkpoint = Checkpoint(str(folder))
    config = dict(checkpoint.transformer().config) | {"max_text_seq_length": TEXT_LENGTH, "sample_frames": frames}
    torch.manual_seed(seed)
    model = CogVideoXTransformer3DModel(**{name: value for name, value in config.items() if not name.startswith("_") and name not in OWN})
    _teach(model, checkpoint, seed, steps, frames)
    for name, part in (("transformer", model), ("vae", mean_colour_vae())):
        shutil.rmtree(folder / name)
        part.save_pretrained(folder / name)
    return folder


def _teach(model: CogVideoXTransformer3DModel, checkpoint: Checkpoint, seed: int, steps: int, frames: int) -> None:
    rng, generator = np.random.default_rng(seed), torch.Generator().manual_seed(seed)
    given = examples(_drawn(rng, frames))
    with torch.no_grad():
        words = checkpoint.text_encoder()(text.tokens(checkpoint.tokenizer(), "shapes", TEXT_LENGTH))[0]
    alphas = CogVideoXDDIMScheduler.from_config(checkpoint.scheduler_config()).alphas_cumprod.float()
    optimizer = torch.optim.AdamW(model.train().parameters(), RATE, betas=(0.9, 0.95), weight_decay=1e-3)
    pace = torch.optim.lr_scheduler.OneCycleLR(optimizer, RATE, steps, pct_start=0.1)
    for _ in range(steps):
        which = torch.randint(CLIPS, (BATCH,), generator=generator)
        timestep, noise = random_noise(given.video[which].shape, generator)
        a = rearrange(alphas[timestep], "n -> n 1 1 1 1")
        noisy = a**0.5 * given.video[which] + (1 - a) ** 0.5 * noise
        v = a**0.5 * noise - (1 - a) ** 0.5 * given.video[which]
        states = torch.cat([noisy, given.image[which]], dim=2)
        rotary = sampling.rotary_embedding(model, noisy)
        predicted = model(states, repeat(words, "1 l d -> n l d", n=BATCH), timestep, image_rotary_emb=rotary, return_dict=False)[0]
        optimizer.zero_grad()
        torch.nn.functional.mse_loss(predicted, v).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        pace.step()


def _drawn(rng: np.random.Generator, frames: int) -> Clips:
    """Several shapes a clip, over a ground of any colour."""
    clips = draw([_scene(rng) for _ in range(CLIPS)], frames)
    nowhere = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
    for video in clips.video:
        for scene in [_scene(rng) for _ in range(SHAPES - 1)]:
            for time in range(frames):
                paint(video[time], nowhere, scene, time)
    return clips


def _scene(rng: np.random.Generator) -> Scene:
    angle, speed = rng.uniform(0, 2 * np.pi), rng.uniform(0, 5)
    return Scene(
        x=rng.uniform(0, WIDTH),
        y=rng.uniform(0, HEIGHT),
        half=rng.uniform(8, 18),
        velocity=(speed * np.cos(angle), speed * np.sin(angle)),
        disc=rng.random() < 0.5,
        colour=rng.integers(0, 256, 3),
        ground=rng.integers(0, 256, 3),
    )
