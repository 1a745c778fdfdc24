"""What is learnt: v from noisy latents, a first frame with some noise, a tracking video and a text.

The loss is the plain mean squared error of v. The published code weighs the error of x_0 by 1 / (1 - a_t), which is the same:
x_0 = sqrt(a) x_t - sqrt(1 - a) v (arXiv 2202.00512, section 4). Every draw is of one clip's own generator
(:func:`order.generator`), so noise and dropout differ within a batch.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from einops import rearrange

from ..models import decode, latents, sampling
from ..models.transformer import DaSTransformer3DModel
from .data import Latents, draw_from


class Settings(NamedTuple):
    """``image_noise``: mean and deviation of log sigma, None for none; dropouts are shares of clips."""

    image_noise: tuple[float, float] | None = (-3.0, 0.5)
    drop_conditioning: float = 0.05
    drop_prompt: float = 0.0


class Examples(NamedTuple):
    """Clips as the transformer sees them, scaled latents, float32: video and image [B,F,C,h,w], tracking [B,F,2C,h,w],
    noise like the video, timestep [B], text [B,L,D]."""

    video: torch.Tensor
    image: torch.Tensor
    tracking: torch.Tensor
    text: torch.Tensor
    noise: torch.Tensor
    timestep: torch.Tensor


class Conditioner:
    """Makes examples of clips' moments; ``blank`` [L,D] is the embedding of no text."""

    def __init__(self, vae, steps: int, settings: Settings, blank: torch.Tensor | None = None):
        self.vae = vae
        self._steps = steps
        self._settings = settings
        self._blank = blank
        self._factor, self._image_scale = vae.config.scaling_factor, latents.image_latent_scale(vae)

    def __call__(self, clips: list[Latents], texts: list[torch.Tensor], generators: list[torch.Generator]) -> Examples:
        """Examples on the VAE's device."""
        made = [self._one(*one) for one in zip(clips, texts, generators)]
        return Examples(*(torch.stack(parts) for parts in zip(*made)))

    def _one(self, clip: Latents, text: torch.Tensor, random: torch.Generator) -> Examples:
        clip = Latents(*(part.to(self.vae.device) for part in clip))
        video = self._factor * draw_from(clip.video, random)
        image = self._image_scale * self._noisy_first(clip.picture, random)
        tracking = self.maps(clip, random)
        if _happens(self._settings.drop_conditioning, random):  # the tracking itself stays, as in the published training
            image, tracking[:, tracking.shape[1] // 2 :] = torch.zeros_like(image), 0.0
        if _happens(self._settings.drop_prompt, random):
            text = self._blank
        timestep = torch.randint(self._steps, (), generator=random).to(video.device)
        noise = torch.randn(video.shape, generator=random).to(video)
        return Examples(video, latents.after_first(image[None], len(video))[0], tracking, text.to(video), noise, timestep)

    def maps(self, clip: Latents, random: torch.Generator) -> torch.Tensor:
        """The tracking of one clip as the transformer sees it, [F,2C,h,w]: its video beside its first frame."""
        motion = self._factor * draw_from(clip.tracking, random)
        begin = self._factor * draw_from(clip.begin, random)
        return torch.cat([motion, latents.after_first(begin[None], len(motion))[0]], dim=1)

    @torch.no_grad()
    def _noisy_first(self, picture: torch.Tensor, random: torch.Generator) -> torch.Tensor:
        """Latents [1,C,h,w] of the first frame with noise of exp(N(mean, deviation)) on its pixels in -1..1."""
        pixels = rearrange(picture.float() / 127.5 - 1, "h w c -> 1 c 1 h w")
        if self._settings.image_noise:
            mean, deviation = self._settings.image_noise
            sigma = (mean + deviation * torch.randn((), generator=random)).exp().item()
            pixels = pixels + sigma * torch.randn(pixels.shape, generator=random).to(pixels)
        moments = torch.cat(list(decode.encode(self.vae, pixels.to(self.vae.dtype))), dim=2)[0]
        return draw_from(moments, random)


def v_error(transformer: Callable, given: Examples, alphas: torch.Tensor, tracking: torch.Tensor | None = None) -> torch.Tensor:
    """The mean squared error of v of each clip, [B]; ``tracking`` in place of the clips' own. ``alphas`` are cumulative, [steps]."""
    a = rearrange(alphas.to(given.video)[given.timestep], "b -> b 1 1 1 1")
    noisy = a**0.5 * given.video + (1 - a) ** 0.5 * given.noise
    v = a**0.5 * given.noise - (1 - a) ** 0.5 * given.video
    predicted = transformer(
        torch.cat([noisy, given.image], dim=2),
        given.text,
        given.timestep,
        image_rotary_emb=sampling.rotary_embedding(_unwrapped(transformer), noisy),
        attention_kwargs={"tracking_maps": given.tracking if tracking is None else tracking},
        return_dict=False,
    )[0]
    return (predicted.float() - v).square().mean(dim=(1, 2, 3, 4))


def _unwrapped(transformer) -> DaSTransformer3DModel:
    return getattr(transformer, "module", transformer)


def _happens(share: float, random: torch.Generator) -> bool:
    return torch.rand((), generator=random).item() < share
