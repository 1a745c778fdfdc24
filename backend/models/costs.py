"""What the network costs, by formula: parameters, operations, bytes. Plain arithmetic; GB are 1e9 bytes.

The factors of activations are counted, not guessed: of the real classes at 49x480x720, on tensors without storage, what
is alive at once was added up, operation by operation (tests/model/test_costs.py does the same on a small network).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...shared.request import GenerationRequest

GB = 1e9
# Alive at the worst moment of a block, in tensors of [B,S,D]: the rotation of the keys, in float32, beside all else.
TENSORS_IN_A_BLOCK = 16
# Of the published VAE (128 channels in its widest pictures) in 16 bits, bytes for each pixel of a picture.
DECODE_BYTES, ENCODE_BYTES, DECODE_CACHE_BYTES, ENCODE_CACHE_BYTES = 45_800, 19_200, 14_700, 5_300
VAE_CHANNELS = 128
TILE = (240, 360)  # height and width in pixels, of the published VAE's settings
OVERLAP = (1 / 6, 1 / 5)


class Network(NamedTuple):
    """Sizes of a checkpoint's parts. ``text`` and ``vae`` are parameters; ``learned``: positions are weights too."""

    width: int
    head: int
    blocks: int
    tracking_blocks: int
    in_channels: int
    out_channels: int
    time: int
    text_width: int
    text_tokens: int
    patch: int
    learned: int
    text: int
    vae: int
    vae_channels: int
    vae_tile: tuple[int, int] = TILE

    @property
    def linears(self) -> int:
        """Weights of linear layers in all blocks, the tracking ones too, but for those that make its modulation."""
        return (self.blocks + self.tracking_blocks) * 12 * self.width**2

    @property
    def block(self) -> int:
        """Parameters of one block: attention 4 D^2, feed-forward 8 D^2, two modulations of 6 D T."""
        d, t = self.width, self.time
        return 12 * d * d + 9 * d + 4 * self.head + 2 * (6 * d * t + 6 * d + 2 * d)

    @property
    def transformer(self) -> int:
        """Parameters of main blocks, tracking blocks, the linears between, and what is around them."""
        d, t, area = self.width, self.time, self.patch**2
        between = (self.tracking_blocks + 1) * (d * d + d)
        embedding = self.in_channels * area * d + d + self.text_width * d + d + self.learned
        around = (d * t + t) + (t * t + t) + 2 * d + (2 * d * t + 2 * d + 2 * d) + (d + 1) * area * self.out_channels
        return (self.blocks + self.tracking_blocks) * self.block + between + embedding + around

    def tokens(self, width: int, height: int, frames: int) -> int:
        """Of the video: one for each patch of each latent frame."""
        side = 8 * self.patch
        return ((frames - 1) // 4 + 1) * (height // side) * (width // side)


PUBLISHED = Network(
    width=3072, head=64, blocks=42, tracking_blocks=18, in_channels=32, out_channels=16, time=512, text_width=4096,
    text_tokens=226, patch=2, learned=(17_550 + 226) * 3072, text=4_762_310_656, vae=215_583_907, vae_channels=VAE_CHANNELS,
)  # fmt: skip
# What diffusers takes where a config.json does not say.
DEFAULTS = {
    "num_attention_heads": 30, "attention_head_dim": 64, "in_channels": 16, "out_channels": 16, "time_embed_dim": 512,
    "text_embed_dim": 4096, "num_layers": 30, "sample_width": 90, "sample_height": 60, "sample_frames": 49, "patch_size": 2,
    "max_text_seq_length": 226, "use_learned_positional_embeddings": False, "num_tracking_blocks": 18,
}  # fmt: skip


def network(transformer: Mapping[str, Any], vae: Mapping[str, Any], text: int, vae_parameters: int) -> Network:
    """Of a checkpoint's configurations; ``text`` and ``vae_parameters`` are counted from its files."""
    c = DEFAULTS | dict(transformer)
    width, area = c["num_attention_heads"] * c["attention_head_dim"], c["patch_size"] ** 2
    places = ((c["sample_frames"] - 1) // 4 + 1) * c["sample_width"] * c["sample_height"] // area
    learned = (places + c["max_text_seq_length"]) * width if c["use_learned_positional_embeddings"] else 0
    return Network(
        width=width,
        head=c["attention_head_dim"],
        blocks=c["num_layers"],
        tracking_blocks=c["num_tracking_blocks"],
        in_channels=c["in_channels"],
        out_channels=c["out_channels"],
        time=c["time_embed_dim"],
        text_width=c["text_embed_dim"],
        text_tokens=c["max_text_seq_length"],
        patch=c["patch_size"],
        learned=learned,
        text=text,
        vae=vae_parameters,
        vae_channels=vae.get("block_out_channels", (VAE_CHANNELS,))[0],
        vae_tile=(vae.get("sample_height", 480) // 2, vae.get("sample_width", 720) // 2),
    )


def operations(of: Network, request: GenerationRequest, passes: int = 2) -> int:
    """Multiplications and additions of one step; ``passes`` is 2 with guidance.

    A block on S tokens: 24 S D^2 in its linear layers, 4 S^2 D in attention. 962e12 for the published one at 49x480x720.
    """
    video, d = of.tokens(request.width, request.height, request.frames), of.width
    tokens = video + of.text_tokens
    blocks = (of.blocks + of.tracking_blocks) * (24 * tokens * d * d + 4 * tokens * tokens * d)
    between = (of.tracking_blocks + 1) * 2 * video * d * d
    area = of.patch**2
    embedding = 2 * (2 * video * of.in_channels * area * d + 2 * of.text_tokens * of.text_width * d)
    out = 2 * video * d * area * of.out_channels
    return passes * (blocks + between + embedding + out)


def block_activations(of: Network, request: GenerationRequest, passes: int, size: int) -> float:
    """Bytes of the worst moment of a step: 16 B S D of ``size`` bytes. 3.5 GB for the published one with both passes at once."""
    tokens = of.tokens(request.width, request.height, request.frames) + of.text_tokens
    return TENSORS_IN_A_BLOCK * passes * tokens * of.width * size


def vae_activations(of: Network, request: GenerationRequest, size: int, *, decoding: bool, tiled: bool, spilled: bool) -> float:
    """Bytes while the VAE works on a batch of frames: 15.8 GB for decoding 480x720 in one piece, 4.0 GB for a tile of it.

    The caches of all tiles but the one at work come to that, unless they are ``spilled`` to main memory.
    """
    whole, cache = (DECODE_BYTES, DECODE_CACHE_BYTES) if decoding else (ENCODE_BYTES, ENCODE_CACHE_BYTES)
    scale = size / 2 * of.vae_channels / VAE_CHANNELS
    sides, tile = (request.height, request.width), of.vae_tile
    if not tiled or all(side <= size for side, size in zip(sides, tile)):
        return scale * whole * request.height * request.width
    largest = math.prod(min(side, size) for side, size in zip(sides, tile))
    covered = math.prod(_covered(*one) for one in zip(sides, tile, OVERLAP))
    return scale * (whole * largest + (0 if spilled else cache * (covered - largest)))


def _covered(side: int, tile: int, overlap: float) -> int:
    """The lengths of all tiles along a side, what they share counted twice."""
    stride = max(int(tile / 8 * (1 - overlap)) * 8, 8)
    return sum(min(tile, side - start) for start in range(0, side, stride))
