"""The live preview: all latent frames as small pictures, by a linear map from latents to RGB.

The map is not published for this VAE, so it is fitted, by least squares, on what a generation has encoded anyway: its
own first frame and tracking video. That costs no pass of the VAE, and is best for the colours that the video will have.
"""

from __future__ import annotations

import numpy as np
import torch
from einops import rearrange, reduce

RIDGE = 1e-3  # pulls what the pictures do not tell towards grey


def fit(pairs: list[tuple[torch.Tensor, torch.Tensor]]) -> torch.Tensor:
    """The map [C+1,3] from pairs of latents [1,F,C,h,w] and pictures [1,3,T,H,W], T = (F-1) T/F + 1; each pair counts alike."""
    normal, right = 0, 0
    for latents, pictures in pairs:
        x, y = _with_one(latents), rearrange(shrunk(pictures, latents.shape), "f c h w -> (f h w) c").double().cpu()
        normal, right = normal + x.T @ x / len(x), right + x.T @ y / len(x)
    ridge = RIDGE * torch.eye(len(normal), dtype=normal.dtype)
    ridge[-1, -1] = 0  # the constant is free
    return torch.linalg.solve(normal + ridge, right)


def shrunk(pictures: torch.Tensor, shape: torch.Size) -> torch.Tensor:
    """[1,3,T,H,W] to the mean of what each latent of ``shape`` [1,F,C,h,w] stands for: [F,3,h,w].

    The first latent frame is one picture, each other one the next four.
    """
    _, frames, _, height, width = shape
    small = reduce(pictures, "1 c t (h p) (w q) -> t c h w", "mean", h=height, w=width)
    if frames == 1:
        return small[:1]
    return torch.cat([small[:1], reduce(small[1:], "(f n) c h w -> f c h w", "mean", f=frames - 1)])


def preview(x0: torch.Tensor, to_rgb: torch.Tensor) -> np.ndarray:
    """u8 [F,h,w,3] of clean latents [1,F,C,h,w], computed where they are; 10 ms on one core for those of 49 x 480 x 720."""
    to_rgb = to_rgb.to(x0)
    colours = torch.einsum("fchw,ck->fhwk", x0[0], to_rgb[:-1]) + to_rgb[-1]
    return ((colours / 2 + 0.5).clamp(0, 1) * 255).round().to(torch.uint8).cpu().numpy()


def _with_one(latents: torch.Tensor) -> torch.Tensor:
    """[1,F,C,h,w] to rows [F h w, C+1], the last column ones, in double precision on the CPU."""
    rows = rearrange(latents.detach().double().cpu(), "1 f c h w -> (f h w) c")
    return torch.cat([rows, rows.new_ones(len(rows), 1)], dim=1)
