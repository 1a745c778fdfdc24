"""One training run, step by step, on one card or on several by accelerate.

A step is ``batch`` clips, however many processes and micro-batches they are spread over: gradients are their mean. Ctrl-C, a
loss that is no number, and a process that dies leave a checkpoint to go on from.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from importlib.metadata import version
from typing import NamedTuple

import torch
from accelerate import Accelerator

from ...shared.errors import Cancelled, GenerationError, UsageError
from ..models.transformer import DaSTransformer3DModel
from . import checkpoints, loss, order, parameters
from .checkpoints import Checkpoints, Saved, State
from .config import TrainConfig
from .data import Clips, Latents, Pictures, Sample, encode, loader

LIBRARIES = ("torch", "diffusers", "accelerate")


class Step(NamedTuple):
    """What one step was: its number from 1, and the mean loss of its clips."""

    number: int
    loss: float
    learning_rate: float
    gradient_norm: float
    seconds: float
    waited: float  # seconds for data, of those


class Trainer:
    """The trained model with its optimiser. ``transformer`` has what :func:`parameters.make_trainable` made of it, on its device."""

    def __init__(self, config: TrainConfig, accelerator: Accelerator, transformer: DaSTransformer3DModel, kept: Checkpoints):
        self.config = config
        self.accelerator = accelerator
        self.kept = kept
        self.done = 0
        self.names = list(parameters.trained(transformer))
        self.optimizer = make_optimizer(list(parameters.trained(transformer).values()), config)
        self.transformer = accelerator.prepare_model(transformer)

    @property
    def plain(self) -> DaSTransformer3DModel:
        """The transformer without what accelerate has put around it."""
        return self.accelerator.unwrap_model(self.transformer)

    def resume(self, saved: Saved, where: str) -> None:
        """Go on from a checkpoint. UsageError where it is another run's."""
        if (saved.state.seed, saved.state.method) != (self.config.seed, self.config.method):
            raise UsageError(
                f"{where} was trained with method {saved.state.method} and seed {saved.state.seed}, the configuration says {self.config.method} and {self.config.seed}.",
                "Set them as they were, or choose another output folder.",
            )
        parameters.load_trained(self.plain, saved.trained, where)
        checkpoints.restore_optimizer(self.optimizer, self.names, saved)
        self.done = saved.state.step

    def run(self, clips: Clips, turns: order.Order, conditioner: loss.Conditioner, alphas: torch.Tensor, stop: Callable[[], bool]) -> Iterator[Step]:
        """The steps that are left; between two of them the caller may save and validate.

        Raises Cancelled after a step once ``stop`` says so in any process, and GenerationError where the loss is no number:
        the weights are those before that step then.
        """
        samples = iter(loader(clips, self._micro_batches(turns), self.config.workers))
        while self.done < self.config.steps:
            if self._any(stop()):
                raise Cancelled(f"The training was stopped after step {self.done}.")
            yield self._step([clips.sources[i].clip.name for i in turns.clips_of(self.done)], samples, conditioner, alphas)

    def _step(self, names: list[str], samples: Iterator[list[Sample]], conditioner: loss.Conditioner, alphas: torch.Tensor) -> Step:
        began, waited, total = time.perf_counter(), 0.0, 0.0
        count = self.micro_batches
        for index in range(count):
            asked = time.perf_counter()
            batch = next(samples)
            waited += time.perf_counter() - asked
            given = self._conditions(batch, conditioner)
            with nullcontext() if index == count - 1 else self.accelerator.no_sync(self.transformer):
                mean = loss.v_error(self.transformer, given, alphas).mean() / count
                self.accelerator.backward(mean)
            total += mean.detach()
        total = self.accelerator.reduce(total, "mean").item()
        norm = torch.nn.utils.clip_grad_norm_(self._weights(), self.config.clip_norm).item()
        if not math.isfinite(total) or not math.isfinite(norm):
            self.optimizer.zero_grad()
            raise NotFinite(self.done + 1, names)
        rate = self._set_rate()
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.done += 1
        return Step(self.done, total, rate, norm, time.perf_counter() - began, waited)

    def state(self) -> Saved:
        """A checkpoint of now, on the CPU."""
        tensors, rest = checkpoints.optimizer_state(self.optimizer, self.names)
        state = State(
            step=self.done,
            seed=self.config.seed,
            method=self.config.method,
            versions={name: version(name) for name in LIBRARIES},
            optimizer=rest,
        )
        weights = {name: one.detach().cpu().contiguous() for name, one in parameters.trained(self.plain).items()}
        return Saved(state=state, trained=weights, optimizer=tensors)

    def save(self) -> None:
        """By the main process; the others wait until it is on the disk."""
        if self.accelerator.is_main_process:
            self.kept.save(self.state())
        self.accelerator.wait_for_everyone()

    @property
    def micro_batches(self) -> int:
        """Of one process, in one step."""
        return self.config.batch // (self.config.micro_batch * self.accelerator.num_processes)

    def _micro_batches(self, turns: order.Order) -> Iterator[list[tuple[int, int, int]]]:
        """(step, place, clip) of this process's micro-batches, from the next step on."""
        size, own, processes = self.config.micro_batch, self.accelerator.process_index, self.accelerator.num_processes
        for step in range(self.done, self.config.steps):
            places = list(enumerate(turns.clips_of(step)))[own::processes]
            for start in range(0, len(places), size):
                yield [(step, place, clip) for place, clip in places[start : start + size]]

    def _conditions(self, batch: list[Sample], conditioner: loss.Conditioner) -> loss.Examples:
        moments = [as_latents(conditioner.vae, one.clip) for one in batch]
        generators = [order.generator(self.config.seed, one.step, one.place) for one in batch]
        return conditioner(moments, [one.text for one in batch], generators)

    def _set_rate(self) -> float:
        rate = learning_rate(self.config, self.done)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _weights(self) -> list[torch.nn.Parameter]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _any(self, here: bool) -> bool:
        """Whether any process says so."""
        if self.accelerator.num_processes == 1:
            return here
        return bool(self.accelerator.reduce(torch.tensor(float(here), device=self.accelerator.device), "sum").item())


class NotFinite(GenerationError):
    """The loss or its gradient is no number; the weights are still those before the step."""

    def __init__(self, step: int, names: list[str]):
        shown = ", ".join(names[:8]) + (f" and {len(names) - 8} more" if len(names) > 8 else "")
        super().__init__(
            f"The loss of step {step} is no number; its clips were {shown}.",
            "Look at these clips with das dataset preview, or go on with --resume and a lower learning_rate.",
        )


def as_latents(vae, clip: Latents | Pictures) -> Latents:
    """Encoded now, where it comes without a cache."""
    return encode(vae, clip) if isinstance(clip, Pictures) else clip


def learning_rate(config: TrainConfig, step: int) -> float:
    """Of a step counted from 0: it rises evenly over the warm-up and then stays, or falls as half a cosine."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    if config.schedule == "constant":
        return config.learning_rate
    done = (step - config.warmup) / max(config.steps - config.warmup, 1)
    return config.learning_rate * (1 + math.cos(math.pi * done)) / 2


def make_optimizer(weights: list[torch.nn.Parameter], config: TrainConfig) -> torch.optim.Optimizer:
    """AdamW, or bitsandbytes' with 8-bit states."""
    options = {"lr": config.learning_rate, "betas": config.betas, "weight_decay": config.weight_decay}
    if config.optimizer == "adamw":
        return torch.optim.AdamW(weights, **options)
    from bitsandbytes.optim import AdamW8bit

    return AdamW8bit(weights, **options)
