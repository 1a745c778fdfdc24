"""Pictures to the latents that condition the transformer: the first frame's and the tracking video's.

Latents of this module are [1,F,C,h,w] as the transformer takes them, F = (T - 1) / 4 + 1. The published model was
trained with pictures and tracking video in -1..1.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from einops import rearrange

from ...shared.request import ImageLatentScale, TrackingRange


def generators(seed: int) -> tuple[torch.Generator, torch.Generator]:
    """For everything that is drawn in the order of diffusers' pipeline, and for the tracking latents.

    Both draw on the CPU, so that a seed means the same on every device. torch seeds its Mersenne twister with the lower
    32 bits alone: the second seed is mixed, not counted on.
    """
    mixed = int(np.random.SeedSequence((seed, 1)).generate_state(1)[0])
    return torch.Generator().manual_seed(seed), torch.Generator().manual_seed(mixed)


def to_pictures(frames: np.ndarray, device: torch.device, dtype: torch.dtype, *, signed: bool = True) -> torch.Tensor:
    """u8 [T,H,W,3] to [1,3,T,H,W] in -1..1, or in 0..1."""
    unit = torch.from_numpy(np.array(frames)).to(device).float() / 255  # np.array: mapped memory cannot be written
    return rearrange(2 * unit - 1 if signed else unit, "t h w c -> 1 c t h w").to(dtype)


def to_frames(pictures: torch.Tensor) -> np.ndarray:
    """[1,3,f,H,W] in -1..1 to u8 [f,H,W,3], rounded as diffusers rounds."""
    unit = (pictures.float() / 2 + 0.5).clamp(0, 1)
    return rearrange((unit * 255).round().to(torch.uint8), "1 c t h w -> t h w c").cpu().numpy()


@torch.no_grad()
def encode(
    vae: AutoencoderKLCogVideoX, pictures: torch.Tensor, generator: torch.Generator | None = None, *, tiled: bool = False
) -> torch.Tensor:
    """[1,3,T,H,W] to latents of the VAE's own scale: drawn from the posterior, or its mode without a generator."""
    vae.enable_tiling() if tiled else vae.disable_tiling()
    posterior = vae.encode(pictures).latent_dist
    latents = posterior.mode() if generator is None else posterior.sample(generator)
    return rearrange(latents, "b c f h w -> b f c h w")


def image_latent_scale(vae: AutoencoderKLCogVideoX, chosen: ImageLatentScale = "auto") -> float:
    """What the first frame's latents are multiplied by. ``auto``: as the checkpoint's own VAE configuration says."""
    factor = vae.config.scaling_factor
    divide = vae.config.invert_scale_latents if chosen == "auto" else chosen == "div"
    return 1 / factor if divide else factor


def first_frame_latents(
    vae: AutoencoderKLCogVideoX,
    picture: torch.Tensor,
    count: int,
    generator: torch.Generator | None = None,
    *,
    scale: ImageLatentScale = "auto",
    tiled: bool = False,
) -> torch.Tensor:
    """One picture [1,3,1,H,W] as latent frame 0 of ``count``; the others are zero."""
    first = image_latent_scale(vae, scale) * encode(vae, picture, generator, tiled=tiled)
    return followed_by_zeros(first, count)


def tracking_latents(
    vae: AutoencoderKLCogVideoX,
    frames: np.ndarray,
    generator: torch.Generator | None = None,
    *,
    range: TrackingRange = "signed",
    scale: ImageLatentScale = "auto",
    tiled: bool = False,
) -> torch.Tensor:
    """u8 [T,H,W,3] to tracking maps [1,F,2C,h,w]: the video's latents, and beside them those of its first frame alone.

    ``unsigned`` gives the video in 0..1, as the reference's inference does (its first frame stays in -1..1).
    """
    video = to_pictures(frames, vae.device, vae.dtype, signed=range == "signed")
    motion = vae.config.scaling_factor * encode(vae, video, generator, tiled=tiled)
    first = to_pictures(frames[:1], vae.device, vae.dtype)
    return torch.cat([motion, first_frame_latents(vae, first, motion.shape[1], generator, scale=scale, tiled=tiled)], dim=2)


def followed_by_zeros(first: torch.Tensor, count: int) -> torch.Tensor:
    """[1,1,C,h,w] to [1,count,C,h,w]."""
    return torch.cat([first, first.new_zeros(1, count - 1, *first.shape[2:])], dim=1)
