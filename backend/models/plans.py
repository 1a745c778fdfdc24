"""Memory plans: how a generation uses a card's memory, what it is expected to need, and which one is chosen.

The plans are one table, the best first. A plan that runs out of memory is remembered for its card and size, with the
memory that was free then, so that the next job begins with the one after it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec
import psutil
import torch

from ...shared import home
from ...shared.errors import GenerationError, UsageError
from ...shared.request import GenerationRequest
from . import cards, costs
from .costs import GB, Network

Weights = Literal["same", "int8", "fp8", "cast8"]
Offload = Literal["none", "block", "leaf"]

MARGIN = 1.05  # what the allocator cannot use between its blocks
WORKSPACE = 0.5 * GB  # of cuBLAS and cuDNN, by experience
STREAMED_BLOCKS = 2  # the one at work and the one on its way


class Plan(NamedTuple):
    """How a generation uses memory. ``weights`` are the transformer's on the card, ``dtype`` what is computed in.

    ``offload``: blocks or layers come from main memory when it is their turn. ``tiled``: the VAE works tile by tile, and
    the caches of tiles that wait are ``spilled`` to main memory. ``batched``: both passes of guidance at once. ``apart``: the
    transformer leaves the card while the VAE works. ``text_device``: where prompts are embedded; the encoder is always freed then.
    """

    name: str
    device: str
    dtype: torch.dtype
    weights: Weights = "same"
    offload: Offload = "none"
    tiled: bool = False
    spilled: bool = False
    batched: bool = True
    apart: bool = False
    text_device: str = "cpu"

    def __str__(self) -> str:
        """'bf16, in tiles, guidance split, ...': what sets it apart from the best plan."""
        numbers = {torch.float32: "fp32", torch.bfloat16: "bf16"}[self.dtype]
        weights = {"same": "", "int8": " with int8 weights", "fp8": " with fp8 weights", "cast8": " with weights cast to fp8"}[self.weights]
        offload = {"none": "", "block": "blocks streamed from main memory", "leaf": "layers streamed from main memory"}[self.offload]
        rest = [
            offload,
            "VAE in tiles" if self.tiled else "VAE in one piece",
            "guidance together" if self.batched else "guidance one pass after the other",
            "transformer and VAE by turns" if self.apart else "",
            "prompts on the CPU" if self.text_device != self.device else "",
        ]
        return ", ".join([numbers + weights, *filter(None, rest)])

    @property
    def exact(self) -> bool:
        """The weights are the checkpoint's own, not rounded to 8 bits."""
        return self.weights == "same"


_small = {"tiled": True, "spilled": True}
_card = {"device": "cuda", "dtype": torch.bfloat16, "text_device": "cuda"}
PLANS = (
    Plan("full", **_card),
    Plan("large", **_card, **_small),
    Plan("stream", **_card, **_small, offload="block"),
    Plan("int8", **_card, **_small, weights="int8"),
    Plan("fp8", **_card, **_small, weights="fp8"),
    Plan("cast8", **_card, **_small, weights="cast8"),
    Plan("compact", **_card, **_small, weights="int8", batched=False, apart=True),
    Plan("leaf", **(_card | {"text_device": "cpu"}), **_small, offload="leaf", batched=False),
    Plan("cpu", "cpu", torch.float32),
    Plan("cpu-small", "cpu", torch.bfloat16, tiled=True, batched=False),
)
NAMES = tuple(plan.name for plan in PLANS)
CPU_NAMES = tuple(plan.name for plan in PLANS if plan.device == "cpu")
BYTES = {"same": 2, "int8": 1, "fp8": 1, "cast8": 1}


class Machine(NamedTuple):
    """Where plans of ``device`` would run: memory of the card, and main memory, both in bytes; on a CPU they are the same."""

    name: str
    device: str
    total: int
    free: int
    main: int


class Need(NamedTuple):
    """Expected peaks in bytes: of each phase on the card, and of main memory."""

    text: float
    encode: float
    denoise: float
    decode: float
    main: float

    @property
    def peak(self) -> float:
        """The most that is on the card at once."""
        return max(self.text, self.encode, self.denoise, self.decode)


class Choice(NamedTuple):
    """The plan that was chosen, what it is expected to need, and a line for each better one that was not."""

    plan: Plan
    need: Need
    passed_over: list[str]


def machines() -> list[Machine]:
    """The card that torch would use, if any, and the CPU; CardError where a driver is too old. What this process holds counts as free: the next plan may have it."""
    if not cards.available():
        return [cpu()]
    free, total = torch.cuda.mem_get_info()
    return [Machine(torch.cuda.get_device_name(), "cuda", total, free + torch.cuda.memory_reserved(), cpu().free), cpu()]


def cpu() -> Machine:
    """Main memory, with what this process holds."""
    memory = psutil.virtual_memory()
    free = memory.available + psutil.Process().memory_info().rss
    return Machine("the CPU", "cpu", memory.total, free, free)


def machine_for(name: str) -> Machine:
    """Where the plan of a request would run: the CPU where the plan says so, whatever the state of cards."""
    return cpu() if name in CPU_NAMES else machines()[0]


def need(plan: Plan, network: Network, request: GenerationRequest) -> Need:
    """The expected peaks of each phase.

    Weights on the card and the activations of :mod:`costs`: while denoising the transformer's and 16 B S D, while the VAE
    works its own. The VAE stays; the text encoder is alone.
    """
    size = plan.dtype.itemsize
    vae, text = network.vae * size, network.text * size
    transformer, beside = weights_on_device(plan, network)
    stays = (0 if plan.apart or plan.offload != "none" else transformer) + vae
    passes = 2 if plan.batched else 1
    work = {"tiled": plan.tiled, "spilled": plan.spilled}
    on_card = Need(
        text=text if plan.text_device == plan.device else 0,
        encode=stays + costs.vae_activations(network, request, size, decoding=False, **work),
        denoise=transformer + vae + costs.block_activations(network, request, passes, size),
        decode=stays + costs.vae_activations(network, request, size, decoding=True, **work),
        main=max(beside, text if plan.text_device == "cpu" else 0),
    )
    return on_card._replace(main=on_card.peak) if plan.device == "cpu" else on_card


def weights_on_device(plan: Plan, network: Network) -> tuple[float, float]:
    """Bytes of the transformer on the card while it works, and in main memory meanwhile."""
    size = plan.dtype.itemsize
    whole, blocks = network.transformer * size, network.blocks + network.tracking_blocks
    if plan.offload == "block":
        return whole - (blocks - STREAMED_BLOCKS) * network.block * size, whole
    if plan.offload == "leaf":
        return STREAMED_BLOCKS * 4 * network.width**2 * size, whole
    # Casting leaves the modulations as they are: diffusers passes over all that is called norm.
    small = {"same": 0, "cast8": network.linears}.get(plan.weights, blocks * network.block)
    held = whole - small * (size - BYTES[plan.weights])
    return held, held if plan.apart else 0


def obstacle(plan: Plan, machine: Machine, network: Network, request: GenerationRequest) -> str:
    """Why a plan cannot be expected to run here; empty where it can."""
    return shortfall(plan, machine, need(plan, network, request))


def shortfall(plan: Plan, machine: Machine, needed: Need) -> str:
    """Why a machine does not have what a plan needs; empty where it has."""
    card = needed.peak * MARGIN + (WORKSPACE if plan.device != "cpu" else 0)
    if plan.device != machine.device:
        return f"is for {plan.device}"
    if card > machine.free:
        return f"needs {gigabytes(card)}, {gigabytes(machine.free)} are free"
    if needed.main > machine.main:
        return f"needs {gigabytes(needed.main)} of main memory, {gigabytes(machine.main)} are free"
    return ""


def choose(
    machine: Machine, network: Network, request: GenerationRequest, remembered: Remembered, among: Sequence[Plan] = PLANS
) -> Choice:
    """The request's own plan, or the best that is expected to run and has not run out of memory here.

    UsageError where there is no plan of that name, NoMemory where none fits.
    """
    if request.memory_plan != "auto":
        plan = named(request.memory_plan, machine)
        return Choice(plan, need(plan, network, request), [])
    passed_over = []
    for plan in among:
        if plan.device != machine.device:
            continue
        why = obstacle(plan, machine, network, request) or remembered.why_not(plan, machine, network, request)
        if not why:
            return Choice(plan, need(plan, network, request), passed_over)
        passed_over.append(f"{plan.name} {why}")
    last = f": {passed_over[-1]}" if passed_over else " any more"
    raise NoMemory(
        f"No memory plan fits {machine.name} and this size{last}.",
        "End other programs that use the memory, choose a smaller size or fewer frames, or try a plan by its name with --plan.",
        "smaller_video",
    )


def named(name: str, machine: Machine) -> Plan:
    """The plan of a name; UsageError where there is none, or it needs another device."""
    for plan in PLANS:
        if plan.name == name and plan.device in (machine.device, "cpu"):
            return plan
    names = ", ".join(plan.name for plan in PLANS if plan.device in (machine.device, "cpu"))
    raise UsageError(f"The memory plan {name} is not possible here.", f"Choose auto, {names}.", "automatic_plan")


def after(plan: Plan) -> tuple[Plan, ...]:
    """Plans to try where one has run out of memory."""
    return PLANS[NAMES.index(plan.name) + 1 :]


class NoMemory(GenerationError):
    """The memory does not suffice."""

    kind = "out_of_memory"


class Remembered:
    """Which plans have run out of memory, by card, network and size, each with what was free then (memory-plans.json)."""

    def __init__(self):
        self._file = home.home() / "memory-plans.json"

    def why_not(self, plan: Plan, machine: Machine, network: Network, request: GenerationRequest) -> str:
        """A plan is not tried again while no more is free than when it failed; empty where it may be tried."""
        failed_with = self._read().get(_key(machine, network, request), {}).get(plan.name)
        if failed_with is None or machine.free > MARGIN * failed_with:
            return ""
        return f"ran out of memory here before, with {gigabytes(failed_with)} free"

    def add(self, plan: Plan, machine: Machine, network: Network, request: GenerationRequest) -> None:
        """A plan has run out of memory."""
        known = self._read()
        known.setdefault(_key(machine, network, request), {})[plan.name] = machine.free
        self._file.parent.mkdir(parents=True, exist_ok=True)
        partial = self._file.with_name(f"{self._file.name}.{os.getpid()}.partial")
        partial.write_bytes(msgspec.json.format(msgspec.json.encode(known)))
        partial.replace(self._file)

    def _read(self) -> dict[str, dict[str, int]]:
        try:
            return msgspec.json.decode(self._file.read_bytes(), type=dict[str, dict[str, int]])
        except (FileNotFoundError, msgspec.MsgspecError):
            return {}  # nothing has failed yet; what cannot be read is written anew by the next failure


def _key(machine: Machine, network: Network, request: GenerationRequest) -> str:
    size = f"{request.width}x{request.height}x{request.frames}"
    return f"{machine.name}, {machine.total >> 20} MiB, {network.transformer} parameters, {size}"


def gigabytes(count: float) -> str:
    """'20.7 GB', and megabytes below one."""
    return f"{count / GB:.1f} GB" if count >= GB else f"{count / 1e6:.0f} MB"
