"""What makes a step faster: each switch a function of its own, and the presets of a request's ``quality``.

Exact switches change the order of additions alone. Approximate ones say so; `das benchmark das` measures gain and error
of each on the machine at hand.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Iterator
from typing import NamedTuple

import torch
from diffusers.hooks import FirstBlockCacheConfig, HookRegistry, apply_first_block_cache
from diffusers.hooks.first_block_cache import _FBC_BLOCK_HOOK, _FBC_LEADER_BLOCK_HOOK
from diffusers.models.attention_dispatch import dispatch_attention_fn
from diffusers.models.attention_processor import Attention, CogVideoXAttnProcessor2_0
from diffusers.models.embeddings import apply_rotary_emb
from einops import rearrange
from torch import Tensor, nn

from ...shared.request import Quality
from .plans import Plan
from .transformer import DaSTransformer3DModel

# Exact backends first to last, then those that compute in 8 bits. Kernels from the hub are programs to download: never unasked.
EXACT = ("_flash_3", "_native_cudnn", "flash", "native")
APPROXIMATE = ("sage",)
PACKAGES = {"_flash_3": "flash_attn_interface", "flash": "flash_attn", "sage": "sageattention"}
HOPPER = (9, 0)  # from here on cuDNN's attention is the faster one of torch's own
WORST_ATTENTION_ERROR = 0.05  # as a share, of 8 bits; a kernel that is further off is broken


class Switches(NamedTuple):
    """``attention``: diffusers' own processor ("plain"), the best exact backend, or the fastest. ``cache``: its threshold, 0 without."""

    attention: str = "plain"
    fused: bool = False
    compiled: bool = False
    cache: float = 0.0


PRESETS: dict[Quality, Switches] = {
    "draft": Switches("fastest", fused=True, compiled=True, cache=0.1),
    "balanced": Switches("exact", fused=True, compiled=True),
    "final": Switches(),
}


def prepare(transformer: DaSTransformer3DModel, plan: Plan, quality: Quality) -> list[str]:
    """Set a placed transformer's switches for one generation, whatever they were; a note for each that cannot be had here.

    What is as it should be stays untouched: a compiled block would be compiled again if anything in it were new.
    """
    switches, notes = PRESETS[quality], []
    fuse(transformer) if switches.fused and can_fuse(plan) else unfuse(transformer)
    use_attention(transformer, best_backend(plan, switches.attention))
    wanted = switches.compiled and plan.device != "cpu" and plan.offload == "none"
    if wanted and (why := why_not_compile(plan.device)):
        notes.append(f"The model's blocks run uncompiled, which is slower: {why}.")
        wanted = False
    compile_blocks(transformer) if wanted else uncompile(transformer)
    use_cache(transformer, switches.cache)
    return notes


# Attention


class DispatchedAttention:
    """Attention over text and video tokens by the backend that is set, in diffusers' dispatch; fused projections or not."""

    _parallel_config = None

    def __init__(self, backend: str | None = None):
        self._attention_backend = backend

    def __call__(
        self, attn: Attention, hidden_states: Tensor, encoder_hidden_states: Tensor, attention_mask=None, image_rotary_emb=None
    ) -> tuple[Tensor, Tensor]:
        """Video [B,S,D] and text [B,L,D] after attention; only the video's tokens are rotated."""
        words = encoder_hidden_states.shape[1]
        tokens = torch.cat([encoder_hidden_states, hidden_states], dim=1)
        projected = attn.to_qkv(tokens).chunk(3, dim=-1) if attn.fused_projections else [one(tokens) for one in (attn.to_q, attn.to_k, attn.to_v)]
        query, key, value = (rearrange(one, "b s (h d) -> b s h d", h=attn.heads) for one in projected)
        query, key = attn.norm_q(query), attn.norm_k(key)
        if image_rotary_emb is not None:
            for one in (query, key):
                one[:, words:] = apply_rotary_emb(one[:, words:], image_rotary_emb, sequence_dim=1)
        attended = dispatch_attention_fn(
            query, key, value, attn_mask=attention_mask, backend=self._attention_backend, parallel_config=self._parallel_config
        )
        result = attn.to_out[0](rearrange(attended, "b s h d -> b s (h d)"))
        return result[:, words:], result[:, :words]


def use_attention(transformer: DaSTransformer3DModel, backend: str) -> None:
    """Attention by a backend of diffusers' dispatch, or by diffusers' own processor ("plain")."""
    for attn in attentions(transformer):
        if backend == "plain" and not attn.fused_projections:
            attn.set_processor(CogVideoXAttnProcessor2_0())
        elif getattr(attn.processor, "_attention_backend", None) != _dispatched(backend):
            attn.set_processor(DispatchedAttention(_dispatched(backend)))


@functools.cache
def best_backend(plan: Plan, wanted: str) -> str:
    """"plain", or the first backend that works on the plan's device: of the exact ones, or "fastest" of all."""
    if wanted == "plain":
        return wanted
    candidates = (*(APPROXIMATE if wanted == "fastest" else ()), *EXACT)
    device = torch.device(plan.device)
    return next(backend for backend in candidates if not why_not_attention(backend, device, plan.dtype))


def why_not_attention(backend: str, device: torch.device, dtype: torch.dtype) -> str:
    """Why a backend cannot be used, tried out on a small case; empty where it can."""
    if backend == "native":
        return ""
    if device.type == "cpu":
        return "it needs a card"
    if (package := PACKAGES.get(backend)) and not importlib.util.find_spec(package):
        return f"{package} is not installed"
    if backend == "_native_cudnn" and torch.cuda.get_device_capability(device) < HOPPER:
        return "it is slower than the native one on cards before Hopper"
    query, key, value = torch.randn(3, 1, 256, 2, 64, device=device, dtype=dtype)
    expected = dispatch_attention_fn(query, key, value, backend="native")
    try:
        found = dispatch_attention_fn(query, key, value, backend=backend)
    except Exception as error:  # a kernel made for another card or another torch fails in ways of its own
        return f"{type(error).__name__}: {error}"
    off = ((found - expected).norm() / expected.norm()).item()
    return "" if off < WORST_ATTENTION_ERROR else f"its results are {off:.0%} off"


def _dispatched(backend: str) -> str:
    return "native" if backend == "plain" else backend


def attentions(transformer: DaSTransformer3DModel) -> Iterator[Attention]:
    """Those of all blocks, main and tracking."""
    for block in (*transformer.transformer_blocks, *transformer.transformer_blocks_copy):
        yield block.attn1


# Fused projections


def can_fuse(plan: Plan) -> bool:
    """Where weights are whole and stay: parts in 8 bits cannot be joined, and offloading has their old ones by name."""
    return plan.exact and plan.offload == "none"


def fuse(transformer: DaSTransformer3DModel) -> None:
    """Query, key and value by one product instead of three. Exact; the three give their memory back."""
    for attn in attentions(transformer):
        if not attn.fused_projections:
            attn.to_qkv = _joined([attn.to_q, attn.to_k, attn.to_v])
            del attn.to_q, attn.to_k, attn.to_v
            attn.fused_projections = True
            attn.set_processor(DispatchedAttention(getattr(attn.processor, "_attention_backend", "native")))


def unfuse(transformer: DaSTransformer3DModel) -> None:
    """The three projections again."""
    for attn in attentions(transformer):
        if attn.fused_projections:
            attn.to_q, attn.to_k, attn.to_v = _parted(attn.to_qkv, 3)
            del attn.to_qkv
            attn.fused_projections = False


def _joined(linears: list[nn.Linear]) -> nn.Linear:
    weight = torch.cat([linear.weight.data for linear in linears])
    bias = torch.cat([linear.bias.data for linear in linears]) if linears[0].bias is not None else None
    return _linear(weight, bias)


def _parted(linear: nn.Linear, count: int) -> list[nn.Linear]:
    biases = linear.bias.data.chunk(count) if linear.bias is not None else [None] * count
    return [_linear(weight.clone(), bias) for weight, bias in zip(linear.weight.data.chunk(count), biases)]


def _linear(weight: Tensor, bias: Tensor | None) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
    made.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        made.bias = nn.Parameter(bias.clone(), requires_grad=False)
    return made


# Compilation


def compile_blocks(transformer: DaSTransformer3DModel, backend: str = "inductor") -> None:
    """Each kind of block compiled once, for all of them, at the first step. Exact up to rounding; takes a minute on a card.

    Nothing happens where they are compiled already.
    """
    if transformer.transformer_blocks[0]._compiled_call_impl is None:
        transformer.compile_repeated_blocks(fullgraph=True, backend=backend)


def uncompile(transformer: DaSTransformer3DModel) -> None:
    """Blocks run as they are written again."""
    for block in (*transformer.transformer_blocks, *transformer.transformer_blocks_copy):
        block._compiled_call_impl = None


@functools.cache
def why_not_compile(device: str) -> str:
    """Why torch.compile cannot be used on a device, found out on a sum; empty where it can."""
    try:
        torch.compile(lambda x: x.sin() + 1)(torch.zeros(8, device=device))
    except Exception as error:  # no compiler, no Triton, a driver too old: each with an error of its own
        return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
    return ""


# Caching


def use_cache(transformer: DaSTransformer3DModel, threshold: float) -> None:
    """FirstBlockCache on units of a main block and its tracking block; 0 takes it away. Approximate.

    Where the first unit's change differs by less than ``threshold`` (a share) from the last computed step's, all other
    units are passed over, and what they changed then is added again. What was kept of another generation is forgotten.
    """
    for unit in transformer.pairs:
        if registry := getattr(unit, "_diffusers_hook", None):
            registry.remove_hook(_FBC_LEADER_BLOCK_HOOK, recurse=False)
            registry.remove_hook(_FBC_BLOCK_HOOK, recurse=False)
    if threshold:
        apply_first_block_cache(transformer.pairs, FirstBlockCacheConfig(threshold=threshold))
    # The cached list of those who want to know the context does not have the new hooks.
    HookRegistry.check_if_exists_or_initialize(transformer).invalidate_child_registries_cache()
