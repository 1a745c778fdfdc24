"""The Diffusion-as-Shader network: CogVideoX with a branch that carries the tracking video.

Beside each of the first ``num_tracking_blocks`` main blocks runs a copy of it on the tracking's tokens, and a linear layer
brings its result into the main stream (Gu et al., *Diffusion as Shader*, 2025, section 3.2). Names of the parts are those
of the published checkpoint, so that its files load as they are.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from typing import Any

import torch
from diffusers import CogVideoXTransformer3DModel
from diffusers.hooks._helpers import TransformerBlockMetadata, TransformerBlockRegistry
from diffusers.models.modeling_outputs import Transformer2DModelOutput
from diffusers.utils import apply_lora_scale
from einops import rearrange, repeat
from torch import Tensor, nn

TRACKING_PARTS = ("transformer_blocks_copy", "combine_linears", "initial_combine_linear")
Rotary = tuple[Tensor, Tensor]


class Pair(nn.Module):
    """A main block with the tracking block and the linear beside it, as one unit: what caches skip, and cancelling waits for.

    It owns none of its parts, which stay where the checkpoint's names want them.
    """

    def __init__(self, index: int, main: nn.ModuleList, copies: nn.ModuleList, linears: nn.ModuleList):
        super().__init__()
        self.index = index
        self._lists = (main, copies, linears)  # a tuple: torch does not register what is in it

    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        temb: Tensor,
        image_rotary_emb: Rotary | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        tracking: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Video tokens [B,S,D], text tokens [B,L,D] and tracking tokens [B,S,D], each after this unit."""
        main, copies, linears = self._lists
        shared = (temb, image_rotary_emb, attention_kwargs)
        hidden_states, text = main[self.index](hidden_states, encoder_hidden_states, *shared)
        if self.index >= len(copies):
            return hidden_states, text, tracking
        # The text is what the main block has made of it, and what the copy makes of it is dropped.
        tracking, _ = copies[self.index](tracking, text, *shared)
        # The next copy receives the projected signal, not this copy's output: the released weights were trained so.
        tracking = linears[self.index](tracking)
        return hidden_states + tracking, text, tracking


TransformerBlockRegistry.register(
    Pair, TransformerBlockMetadata(return_hidden_states_index=0, return_encoder_hidden_states_index=1)
)


class Pairs(nn.Module):
    """All units under the name by which diffusers' caches find blocks: ``apply_first_block_cache(transformer.pairs, ...)``."""

    def __init__(self, units: list[Pair]):
        super().__init__()
        self.transformer_blocks = nn.ModuleList(units)

    def __iter__(self) -> Iterator[Pair]:
        return iter(self.transformer_blocks)


class DaSTransformer3DModel(CogVideoXTransformer3DModel):
    """CogVideoX 1.0 (image to video) with the tracking branch.

    The configuration is the base model's and ``num_tracking_blocks`` (18 in the published weights, beside 42 main blocks).
    A new one has random main blocks, copies of them in the branch, and zero linears, so that it equals its base exactly.
    """

    _no_split_modules = ["CogVideoXBlock", "CogVideoXPatchEmbed"]
    _repeated_blocks = ["CogVideoXBlock"]

    def __init__(self, num_tracking_blocks: int = 18, **base):
        super().__init__(**base)
        self.register_to_config(num_tracking_blocks=num_tracking_blocks)
        self.patch_embed.to(torch.get_default_dtype())  # diffusers makes the positions in float64, and saves them so
        if self.config.patch_size_t is not None or self.config.ofs_embed_dim is not None:
            raise ValueError("The tracking branch is that of CogVideoX 1.0; this configuration is of CogVideoX 1.5.")
        if not 0 < num_tracking_blocks <= len(self.transformer_blocks):
            raise ValueError(f"{num_tracking_blocks} tracking blocks do not fit {len(self.transformer_blocks)} main blocks.")
        width = self.config.num_attention_heads * self.config.attention_head_dim
        self.transformer_blocks_copy = nn.ModuleList(map(copy.deepcopy, self.transformer_blocks[:num_tracking_blocks]))
        self.combine_linears = nn.ModuleList(nn.Linear(width, width) for _ in range(num_tracking_blocks))
        self.initial_combine_linear = nn.Linear(width, width)
        zero_(self.initial_combine_linear, *self.combine_linears)
        lists = (self.transformer_blocks, self.transformer_blocks_copy, self.combine_linears)
        self.pairs = Pairs([Pair(index, *lists) for index in range(len(self.transformer_blocks))])

    @staticmethod
    def _get_init_keys(input_class: type) -> set[str]:
        """diffusers asks by this which entries of a config.json are ours: the base's too, which ``**base`` hides."""
        own = set(inspect.signature(input_class.__init__).parameters) - {"base"}
        return own | set(inspect.signature(CogVideoXTransformer3DModel.__init__).parameters)

    @torch.no_grad()
    def start_from_base(self) -> None:
        """Make the branch what it is before any training: copies of the first main blocks, and zero linears."""
        for main, side in zip(self.transformer_blocks, self.transformer_blocks_copy):
            side.load_state_dict(main.state_dict())
        zero_(self.initial_combine_linear, *self.combine_linears)

    @apply_lora_scale("attention_kwargs")
    def forward(
        self,
        hidden_states: Tensor,
        encoder_hidden_states: Tensor,
        timestep: Tensor,
        timestep_cond: Tensor | None = None,
        ofs: None = None,
        image_rotary_emb: Rotary | None = None,
        attention_kwargs: dict[str, Any] | None = None,
        return_dict: bool = True,
    ) -> tuple[Tensor] | Transformer2DModelOutput:
        """The velocity [B,F,C,H,W] of noisy latents with their image latents [B,F,2C,H,W] at ``timestep`` [B].

        ``attention_kwargs["tracking_maps"]`` [b,F,2C,H,W] are the tracking video's latents with those of its first frame;
        where b is less than B (guidance doubles the video alone) they are repeated. ``encoder_hidden_states`` is the text
        [B,L,D_text]. Raises ValueError without tracking: the base model is another class.
        """
        rest = dict(attention_kwargs or {})
        if rest.get("tracking_maps") is None:
            raise ValueError('attention_kwargs has no "tracking_maps": without them this is another model.')
        tracking_maps = rest.pop("tracking_maps").to(hidden_states)
        tracking_maps = repeat(tracking_maps, "b ... -> (r b) ...", r=len(hidden_states) // len(tracking_maps))

        emb = self.time_embedding(self.time_proj(timestep).to(hidden_states.dtype), timestep_cond)
        video, text = self._embed(encoder_hidden_states, hidden_states)
        tracking, _ = self._embed(encoder_hidden_states, tracking_maps)
        tracking = self.initial_combine_linear(video + tracking)
        for pair in self.pairs:
            states = (video, text, emb, image_rotary_emb, rest, tracking)
            # A cache that skips a unit returns video and text only: the tracking is not asked for again until it has run.
            video, text, *after = self._run(pair, states)
            tracking = after[0] if after else None
        velocity = self.proj_out(self.norm_out(self.norm_final(video), temb=emb))
        velocity = self._unpatchify(velocity, *hidden_states.shape[-2:])
        return Transformer2DModelOutput(sample=velocity) if return_dict else (velocity,)

    def _embed(self, text: Tensor, latents: Tensor) -> tuple[Tensor, Tensor]:
        """Latents [B,F,C,H,W] and text [B,L,D_text] to tokens of both, [B,S,D] and [B,L,D]."""
        tokens = self.embedding_dropout(self.patch_embed(text, latents))
        return tokens[:, text.shape[1] :], tokens[:, : text.shape[1]]

    def _run(self, pair: Pair, states: tuple) -> tuple:
        if torch.is_grad_enabled() and self.gradient_checkpointing:
            return self._gradient_checkpointing_func(pair, *states)
        return pair(*states)

    def _unpatchify(self, tokens: Tensor, height: int, width: int) -> Tensor:
        p = self.config.patch_size
        shape = {"h": height // p, "w": width // p, "p": p, "q": p}
        return rearrange(tokens, "b (f h w) (c p q) -> b f c (h p) (w q)", **shape)


@torch.no_grad()
def zero_(*linears: nn.Linear) -> None:
    """Set weights and biases to zero."""
    for linear in linears:
        linear.weight.zero_()
        linear.bias.zero_()
