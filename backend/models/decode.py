"""The VAE frame batch by frame batch: pictures leave as soon as they are decoded, and a cancel need not wait for the end.

diffusers decodes all frames of a tile before it begins the next, so tiled decoding shows nothing before its end. Here
frame batches are outside and tiles inside, with one cache of the causal convolutions a tile; the results are the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import NamedTuple

import torch
from diffusers import AutoencoderKLCogVideoX

Network = Callable[[torch.Tensor, dict | None], tuple[torch.Tensor, dict]]  # input, cache -> output, cache


class Tiling(NamedTuple):
    """Along one side of the input, tiles of ``size`` begin every ``stride``; of each output ``kept`` stay.

    The first ``blended`` of an output fade in from the one before.
    """

    size: int
    stride: int
    kept: int
    blended: int


@torch.no_grad()
def decode(
    vae: AutoencoderKLCogVideoX, latents: torch.Tensor, *, tiled: bool = False, spilled: bool = False
) -> Iterator[torch.Tensor]:
    """Pictures [1,3,f,H,W] in -1..1 (not clamped), in order, from latents [1,C,F,h,w] of the VAE's own scale.

    F latent frames become 4 (F - 1) + 1 pictures where F is odd. Equal to ``vae.decode``, tiled or not; ``spilled`` tiles
    keep their caches in main memory while they wait.
    """
    before = vae.post_quant_conv or torch.nn.Identity()
    network = lambda z, cache: vae.decoder(before(z), conv_cache=cache)  # noqa: E731
    tilings = decoder_tilings(vae) if tiled else None
    yield from streamed(spilling(network) if spilled else network, latents, vae.num_latent_frames_batch_size, tilings)


@torch.no_grad()
def encode(
    vae: AutoencoderKLCogVideoX, pictures: torch.Tensor, *, tiled: bool = False, spilled: bool = False
) -> Iterator[torch.Tensor]:
    """Moments [1,2C,f,h,w] of the latents' posterior, in order, from pictures [1,3,T,H,W] in -1..1. Equal to ``vae.encode``."""
    after = vae.quant_conv or torch.nn.Identity()

    def network(x: torch.Tensor, cache: dict | None) -> tuple[torch.Tensor, dict]:
        moments, cache = vae.encoder(x, conv_cache=cache)
        return after(moments), cache

    tilings = encoder_tilings(vae) if tiled else None
    yield from streamed(spilling(network) if spilled else network, pictures, vae.num_sample_frames_batch_size, tilings)


def streamed(network: Network, x: torch.Tensor, batch: int, tilings: tuple[Tiling, Tiling] | None) -> Iterator[torch.Tensor]:
    """The network's outputs, one a batch of frames. What fits into one tile is not cut."""
    if tilings and not any(side > tiling.size for side, tiling in zip(x.shape[-2:], tilings)):
        tilings = None
    grid = tile_grid(x.shape[-2:], tilings)
    caches: dict[tuple[int, int], dict] = {}
    for frames in frame_batches(x.shape[2], batch):
        tiles = [[] for _ in grid]
        for i, line in enumerate(grid):
            for j, (rows, columns) in enumerate(line):
                out, caches[i, j] = network(x[:, :, frames, rows, columns], caches.get((i, j)))
                tiles[i].append(out)
        yield blended(tiles, *tilings) if tilings else tiles[0][0]


def spilling(network: Network) -> Network:
    """The network with its caches in main memory between calls."""

    def spilled(x: torch.Tensor, cache: dict | None) -> tuple[torch.Tensor, dict]:
        out, cache = network(x, _moved(cache, x.device))
        return out, _moved(cache, torch.device("cpu"))

    return spilled


def _moved(cache: dict | torch.Tensor | None, device: torch.device) -> dict | torch.Tensor | None:
    if isinstance(cache, dict):
        return {name: _moved(part, device) for name, part in cache.items()}
    return cache if cache is None else cache.to(device)


def frame_batches(count: int, size: int) -> list[slice]:
    """Batches of ``size`` frames, the first one larger by what is left over: 13 by 2 is 3, 2, 2, 2, 2, 2."""
    left = count % size
    return [slice(size * i + (left if i else 0), size * (i + 1) + left) for i in range(max(count // size, 1))]


def decoder_tilings(vae: AutoencoderKLCogVideoX) -> tuple[Tiling, Tiling]:
    """Rows and columns of the latents, by the VAE's own settings."""
    height, width = (vae.tile_latent_min_height, vae.tile_sample_min_height), (vae.tile_latent_min_width, vae.tile_sample_min_width)
    return _tiling(*height, vae.tile_overlap_factor_height), _tiling(*width, vae.tile_overlap_factor_width)


def encoder_tilings(vae: AutoencoderKLCogVideoX) -> tuple[Tiling, Tiling]:
    """Rows and columns of the pictures, by the VAE's own settings."""
    height, width = (vae.tile_sample_min_height, vae.tile_latent_min_height), (vae.tile_sample_min_width, vae.tile_latent_min_width)
    return _tiling(*height, vae.tile_overlap_factor_height), _tiling(*width, vae.tile_overlap_factor_width)


def _tiling(size: int, out: int, overlap: float) -> Tiling:
    # diffusers keeps out - blended, which is as much for the published VAE and the wrong amount for some others.
    stride = int(size * (1 - overlap))
    return Tiling(size, stride, int(stride * Fraction(out, size)), int(out * overlap))


def tile_grid(shape: tuple[int, int], tilings: tuple[Tiling, Tiling] | None) -> list[list[tuple[slice, slice]]]:
    """Rows and columns of each tile of an input of ``shape``, line by line; one that is everything without tilings."""
    rows, columns = ([slice(None)] if tiling is None else _tiles(side, tiling) for side, tiling in zip(shape, tilings or (None, None)))
    return [[(y, x) for x in columns] for y in rows]


def _tiles(length: int, tiling: Tiling) -> list[slice]:
    return [slice(start, start + tiling.size) for start in range(0, length, tiling.stride)]


def blended(tiles: list[list[torch.Tensor]], rows: Tiling, columns: Tiling) -> torch.Tensor:
    """One output of overlapping ones [1,C,f,H,W]; each fades in from the tile above, then from the one to its left."""
    for i, line in enumerate(tiles):
        for j, tile in enumerate(line):
            if i:
                _fade(tiles[i - 1][j], tile, rows.blended, 3)
            if j:
                _fade(line[j - 1], tile, columns.blended, 4)
    return torch.cat([torch.cat([tile[:, :, :, : rows.kept, : columns.kept] for tile in line], dim=4) for line in tiles], dim=3)


def _fade(before: torch.Tensor, tile: torch.Tensor, extent: int, side: int) -> None:
    """In place: the first ``extent`` of ``tile`` along a side go over from the last ones of ``before``."""
    extent = min(before.shape[side], tile.shape[side], extent)
    shape = [extent if axis == side else 1 for axis in range(5)]
    dtype = torch.promote_types(tile.dtype, torch.float32)
    weight = (torch.arange(extent, device=tile.device, dtype=dtype) / max(extent, 1)).view(shape)
    begin = tile.narrow(side, 0, extent)
    begin.copy_(before.narrow(side, before.shape[side] - extent, extent) * (1 - weight) + begin * weight)
