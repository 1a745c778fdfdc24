"""The VAE's decoder, frame batch by frame batch: pictures leave as soon as they are decoded.

diffusers decodes all frames of a tile before it begins the next, so tiled decoding shows nothing before its end. Here
frame batches are outside and tiles inside, with one cache of the causal convolutions a tile; the pictures are the same.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from diffusers import AutoencoderKLCogVideoX

Tile = tuple[slice, slice]  # rows and columns of the latents


class Tiling(NamedTuple):
    """Along one side: tiles of ``size`` begin every ``stride`` latents; ``kept`` pixels of each, ``blended`` with the one before."""

    size: int
    stride: int
    kept: int
    blended: int


@torch.no_grad()
def decode(vae: AutoencoderKLCogVideoX, latents: torch.Tensor, *, tiled: bool = False) -> Iterator[torch.Tensor]:
    """Pictures [1,3,f,H,W] in -1..1 (not clamped), in order, from latents [1,C,F,h,w] of the VAE's own scale.

    F latent frames become 4 (F - 1) + 1 pictures where F is odd. Equal to ``vae.decode``, tiled or not.
    """
    rows, columns = tilings(vae)
    if not tiled or not (latents.shape[-2] > rows.size or latents.shape[-1] > columns.size):
        rows = columns = None
    grid = tile_grid(latents.shape[-2:], rows, columns)
    caches: dict[tuple[int, int], dict] = {}
    for frames in frame_batches(latents.shape[2], vae.num_latent_frames_batch_size):
        tiles = []
        for i, line in enumerate(grid):
            tiles.append([])
            for j, (y, x) in enumerate(line):
                z = latents[:, :, frames, y, x]
                z = z if vae.post_quant_conv is None else vae.post_quant_conv(z)
                pixels, caches[i, j] = vae.decoder(z, conv_cache=caches.get((i, j)))
                tiles[i].append(pixels)
        yield tiles[0][0] if rows is None else blended(tiles, rows, columns)


def frame_batches(count: int, size: int) -> list[slice]:
    """Batches of ``size`` frames, the first one larger by what is left over: 13 by 2 is 3, 2, 2, 2, 2, 2."""
    left = count % size
    return [slice(size * i + (left if i else 0), size * (i + 1) + left) for i in range(max(count // size, 1))]


def tilings(vae: AutoencoderKLCogVideoX) -> tuple[Tiling, Tiling]:
    """How the VAE is tiled along rows and columns, by its own settings."""
    return (
        _tiling(vae.tile_latent_min_height, vae.tile_sample_min_height, vae.tile_overlap_factor_height),
        _tiling(vae.tile_latent_min_width, vae.tile_sample_min_width, vae.tile_overlap_factor_width),
    )


def _tiling(latents: int, pixels: int, overlap: float) -> Tiling:
    # diffusers keeps pixels - blended, which is as much for the published VAE and too much for some others.
    stride = int(latents * (1 - overlap))
    return Tiling(latents, stride, stride * (pixels // latents), int(pixels * overlap))


def tile_grid(shape: tuple[int, int], rows: Tiling | None, columns: Tiling | None) -> list[list[Tile]]:
    """The tiles of latents of ``shape`` (h, w), line by line; one that is everything without tilings."""
    return [[(y, x) for x in _tiles(shape[1], columns)] for y in _tiles(shape[0], rows)]


def _tiles(length: int, tiling: Tiling | None) -> list[slice]:
    if tiling is None:
        return [slice(None)]
    return [slice(start, start + tiling.size) for start in range(0, length, tiling.stride)]


def blended(tiles: list[list[torch.Tensor]], rows: Tiling, columns: Tiling) -> torch.Tensor:
    """One picture of overlapping tiles [1,3,f,H,W]; each fades in from the tile above, then from the one to its left."""
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
    weight = (torch.arange(extent, dtype=torch.float64, device=tile.device) / max(extent, 1)).view(shape).to(_at_least_float32(tile))
    begin = tile.narrow(side, 0, extent)
    begin.copy_(before.narrow(side, before.shape[side] - extent, extent) * (1 - weight) + begin * weight)


def _at_least_float32(tile: torch.Tensor) -> torch.dtype:
    return torch.promote_types(tile.dtype, torch.float32)
