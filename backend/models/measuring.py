"""Time, memory and error of denoising steps under each plan and switch, on the machine at hand. Only what is measured is told."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import torch
from diffusers import AutoencoderKLCogVideoX, CogVideoXDDIMScheduler

from ...shared.request import GenerationRequest
from . import cards, costs, decode, placement, plans, sampling, speed, tiny
from .checkpoint import Checkpoint
from .costs import Network
from .plans import Plan
from .transformer import DaSTransformer3DModel

SCHEDULE_STEPS = 50  # the steps measured are the first of so many
MATRIX_SIDE = {"cuda": 8192, "cpu": 1024}
PLAIN, REPEATS = "plain", 5
# Of the published checkpoint, for random weights.
TRANSFORMER = {
    "num_attention_heads": 48, "attention_head_dim": 64, "in_channels": 32, "out_channels": 16, "time_embed_dim": 512,
    "text_embed_dim": 4096, "num_layers": 42, "sample_width": 90, "sample_height": 60, "sample_frames": 49, "patch_size": 2,
    "max_text_seq_length": 226, "use_rotary_positional_embeddings": True, "use_learned_positional_embeddings": True,
}  # fmt: skip
VAE = {"down_block_types": ("CogVideoXDownBlock3D",) * 4, "up_block_types": ("CogVideoXUpBlock3D",) * 4, "latent_channels": 16}


class Feature(msgspec.Struct, kw_only=True):
    """One way to run, against the plain one. ``error`` is the distance of the latents as a share; ``peak`` in bytes, 0 on a CPU."""

    name: str
    seconds: float = 0.0  # a step
    first: float = 0.0  # the first step, which compiles or moves what the others find ready
    share: float = 0.0  # of the measured matrix rate
    gain: float = 0.0
    error: float = 0.0
    peak: int = 0
    expected: float = 0.0  # peak while denoising, by the plan's formula
    why_not: str = ""


class Case(NamedTuple):
    """What is measured: a way to make the transformer again with the same weights, its sizes, the size of the video."""

    make: Callable[[Plan], DaSTransformer3DModel]
    make_vae: Callable[[Plan], AutoencoderKLCogVideoX]
    network: Network
    request: GenerationRequest
    plan: Plan  # the plain one
    steps: int


@contextmanager
def make_case(size: str, weights: str, device: str, steps: int) -> Iterator[Case]:
    """``full``: the published sizes; ``tiny``: for any CPU. ``weights`` take the place of random ones."""
    plan = plans.named("full" if device == "cuda" else "cpu", plans.machine_for("auto" if device == "cuda" else "cpu"))
    small = GenerationRequest(width=96, height=64, frames=9)
    with tempfile.TemporaryDirectory() as folder:
        if weights or size == "tiny":
            checkpoint = Checkpoint(weights or tiny.write_tiny_checkpoint(Path(folder) / "tiny"))
            allowed = checkpoint.allowed_sizes()
            request = small if not allowed else GenerationRequest(width=allowed[0][0], height=allowed[0][1], frames=allowed[0][2])
            network = placement.network_of(checkpoint)
            make_vae = lambda plan: checkpoint.vae(plan.dtype, plan.device).eval()  # noqa: E731
            yield Case(lambda plan: placement.load_transformer(checkpoint, plan), make_vae, network, request, plan, steps)
        else:
            yield Case(random_transformer, random_vae, costs.PUBLISHED, GenerationRequest(), plan, steps)


def random_transformer(plan: Plan) -> DaSTransformer3DModel:
    """The published network with random weights, the same each time, made in main memory only where the plan needs it so."""
    with torch.device("meta"):
        model = DaSTransformer3DModel(num_tracking_blocks=18, **TRANSFORMER).to(plan.dtype)
    whole = plan.exact and plan.offload == "none"
    model = _random(model.to_empty(device=plan.device if whole else "cpu"), plan.device)
    return model if whole else placement.place(model, plan)


def random_vae(plan: Plan) -> AutoencoderKLCogVideoX:
    """The published VAE with random weights."""
    with torch.device("meta"):
        vae = AutoencoderKLCogVideoX(sample_height=480, sample_width=720, **VAE).to(plan.dtype)
    return _random(vae.to_empty(device=plan.device), plan.device)


@torch.no_grad()
def _random(model: torch.nn.Module, device: str) -> Any:
    """Drawn on the device one by one, wherever they lie: a card draws billions in a second."""
    generator = torch.Generator(device).manual_seed(0)
    for name, weight in [*model.named_parameters(), *model.named_buffers()]:
        about = 1.0 if "norm" in name and name.endswith("weight") and weight.ndim == 1 else 0.0
        weight.copy_(about + 0.02 * torch.randn(weight.shape, generator=generator, device=device, dtype=weight.dtype))
    return model.eval().requires_grad_(False)


def matrix_rate(device: str, dtype: torch.dtype) -> float:
    """Multiplications and additions a second of one large product of matrices: the best of some tries."""
    side = MATRIX_SIDE[device]
    a, b = torch.randn(2, side, side, device=device, dtype=dtype)
    return 2 * side**3 / min(_seconds(lambda: a @ b, device) for _ in range(REPEATS + 1))


def features(case: Case, rate: float) -> Iterator[Feature]:
    """The plain run, then each switch alone, the presets, and the plans."""
    model, plan = case.make(case.plan), case.plan
    plain = yield from _measured(case, rate, PLAIN, plan, lambda: model)
    for backend in (*speed.EXACT, *speed.APPROXIMATE):
        why = speed.why_not_attention(backend, torch.device(plan.device), plan.dtype)
        yield from _switched(case, rate, f"attention {backend}", model, plain, lambda b=backend: speed.use_attention(model, b), why)
    yield from _switched(case, rate, "fused projections", model, plain, lambda: speed.fuse(model))
    why = "only on cards" if plan.device == "cpu" else speed.why_not_compile(plan.device)
    yield from _switched(case, rate, "compiled blocks", model, plain, lambda: speed.compile_blocks(model), why)
    yield from _switched(case, rate, "cache 0.1", model, plain, lambda: speed.use_cache(model, 0.1))
    for quality in speed.PRESETS:
        yield from _switched(case, rate, f"quality {quality}", model, plain, lambda q=quality: speed.prepare(model, plan, q))
    yield from _measured(case, rate, "guidance split", plan._replace(batched=False), lambda: model, plain)
    del model
    for name in ("int8", "fp8", "cast8", "stream", "compact", "leaf"):
        other = plans.PLANS[plans.NAMES.index(name)]._replace(device=plan.device, dtype=plan.dtype)
        yield from _measured(case, rate, f"plan {name}", other, lambda p=other: case.make(p), plain)


def _switched(case, rate, name, model, plain, switch: Callable[[], object], why_not: str = "") -> Iterator[Feature]:
    if why_not:
        yield Feature(name=name, why_not=why_not)
        return

    def switched() -> DaSTransformer3DModel:
        switch()
        return model

    yield from _measured(case, rate, name, case.plan, switched, plain)
    speed.prepare(model, case.plan, "final")  # the plain run's state again


def _measured(case: Case, rate: float, name: str, plan: Plan, make: Callable, plain: tuple | None = None) -> Iterator[Feature]:
    """Yields the feature; returns its seconds and latents, None where memory or a library does not suffice."""
    placement.give_back_memory()
    try:
        model = make()
        placement.begin_measuring()
        seconds, latents = run_steps(case, model, plan)
    except Exception as error:  # one way that cannot run here must not hide the others
        short = "out of memory" if placement.is_out_of_memory(error) else f"{type(error).__name__}: {str(error).splitlines()[0][:100]}"
        yield Feature(name=name, why_not=short)
        return None
    later = seconds[1:] or seconds
    # A cache computes some steps and passes over others: what counts is their mean.
    middle = statistics.fmean(later) if name in ("cache 0.1", "quality draft") else statistics.median(later)
    feature = Feature(name=name, seconds=middle, first=seconds[0], share=costs.operations(case.network, case.request) / middle / rate)
    if plain:
        feature.gain, feature.error = plain[0] / middle, ((latents - plain[1]).norm() / plain[1].norm()).item()
    if plan.device != "cpu":
        feature.peak = placement.peak_memory(plan.device)
    feature.expected = plans.need(plan, case.network._replace(vae=0), case.request).denoise
    yield feature
    return middle, latents


def run_steps(case: Case, model: DaSTransformer3DModel, plan: Plan) -> tuple[list[float], torch.Tensor]:
    """Seconds of each step, and the latents after the last one; the first of 50 steps of DDIM with guidance."""
    conditions, x = _conditions(case, plan)
    schedule = sampling.trailing_schedule(CogVideoXDDIMScheduler(**tiny.SCHEDULER), SCHEDULE_STEPS)
    guided = sampling.guided(model, conditions, [6.0] * SCHEDULE_STEPS, batched=plan.batched)
    seconds, steps = [], sampling.sample("ddim", guided, x, schedule, lambda: x)
    for _ in range(case.steps):
        began = time.perf_counter()
        step = next(steps)
        _wait(plan.device)
        seconds.append(time.perf_counter() - began)
    return seconds, step.x.float().cpu()


def _conditions(case: Case, plan: Plan) -> tuple[sampling.Conditions, torch.Tensor]:
    generator, of, request = torch.Generator().manual_seed(0), case.network, case.request
    frames, height, width = (request.frames - 1) // 4 + 1, request.height // 8, request.width // 8

    def drawn(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=generator).to(plan.device, plan.dtype)

    text, negative = (drawn(1, of.text_tokens, of.text_width) for _ in range(2))
    image, tracking = drawn(1, frames, of.out_channels, height, width), drawn(1, frames, 2 * of.out_channels, height, width)
    return sampling.Conditions(text, negative, image, tracking), drawn(1, frames, of.out_channels, height, width).float()


def vae_features(case: Case) -> Iterator[Feature]:
    """Encoding and decoding a whole video: in one piece, in tiles, and in tiles whose caches wait in main memory."""
    vae, request = case.make_vae(case.plan), case.request
    options = {"device": case.plan.device, "dtype": case.plan.dtype}
    pictures = torch.rand(1, 3, request.frames, request.height, request.width, **options)
    z = torch.randn(1, vae.config.latent_channels, (request.frames - 1) // 4 + 1, request.height // 8, request.width // 8, **options)
    ways = {"in one piece": {}, "in tiles": {"tiled": True}, "in tiles, spilled": {"tiled": True, "spilled": True}}
    for name, work, given in (("encode", decode.encode, pictures), ("decode", decode.decode, z)):
        for way, how in ways.items():
            yield _timed(case, f"{name} {way}", lambda work=work, given=given, how=how: [None for _ in work(vae, given, **how)], name, how)


def _timed(case: Case, name: str, work: Callable[[], object], kind: str, how: dict) -> Feature:
    placement.give_back_memory()
    placement.begin_measuring()
    whole = {"tiled": False, "spilled": False} | how
    expected = costs.vae_activations(case.network, case.request, case.plan.dtype.itemsize, decoding=kind == "decode", **whole)
    try:
        seconds = _seconds(work, case.plan.device)
    except Exception as error:
        if not placement.is_out_of_memory(error):
            raise
        return Feature(name=name, why_not="out of memory", expected=expected)
    peak = placement.peak_memory(case.plan.device) if case.plan.device != "cpu" else 0
    return Feature(name=name, seconds=seconds, peak=peak, expected=expected + case.network.vae * case.plan.dtype.itemsize)


def _seconds(work: Callable[[], object], device: str) -> float:
    _wait(device)
    began = time.perf_counter()
    work()
    _wait(device)
    return time.perf_counter() - began


def _wait(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def default_device() -> str:
    """The card where there is one that torch can use."""
    return "cuda" if cards.available() else "cpu"
