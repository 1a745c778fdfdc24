"""Pictures to the latents that condition the transformer: the first frame's and the tracking video's.

Latents of this module are [1,F,C,h,w] as the transformer takes them, F = (T - 1) / 4 + 1. The published model was
trained with pictures and tracking video in -1..1.
"""

from __future__ import annotations

import numpy as np
import torch
from diffusers import AutoencoderKLCogVideoX
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from einops import rearrange

from ...shared.request import ImageLatentScale
from . import decode


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


def encode(
    vae: AutoencoderKLCogVideoX, pictures: torch.Tensor, generator: torch.Generator | None = None, *, tiled: bool = False
) -> torch.Tensor:
    """[1,3,T,H,W] to latents of the VAE's own scale: drawn from the posterior, or its mode without a generator."""
    return from_moments(list(decode.encode(vae, pictures, tiled=tiled)), generator)


def from_moments(moments: list[torch.Tensor], generator: torch.Generator | None = None) -> torch.Tensor:
    """The latents of a posterior whose moments [1,2C,f,h,w] came in parts."""
    posterior = DiagonalGaussianDistribution(torch.cat(moments, dim=2))
    latents = posterior.mode() if generator is None else posterior.sample(generator)
    return rearrange(latents, "b c f h w -> b f c h w")


def image_latent_scale(vae: AutoencoderKLCogVideoX, chosen: ImageLatentScale = "auto") -> float:
    """What the first frame's latents are multiplied by. ``auto``: as the checkpoint's own VAE configuration says."""
    factor = vae.config.scaling_factor
    divide = vae.config.invert_scale_latents if chosen == "auto" else chosen == "div"
    return 1 / factor if divide else factor


def after_first(first: torch.Tensor, count: int) -> torch.Tensor:
    """The latents of one picture [1,1,C,h,w] as latent frame 0 of ``count``; the others are zero."""
    return torch.cat([first, first.new_zeros(1, count - 1, *first.shape[2:])], dim=1)
