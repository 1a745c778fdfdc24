"""One run from its configuration to its end: everything is checked, then loaded, trained, validated and saved."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

import msgspec
import torch
from accelerate import Accelerator
from diffusers import CogVideoXDDIMScheduler

from ...shared.dataset import Dataset, check_lists
from ...shared.errors import Cancelled, UsageError
from ...shared.report import Reporter
from ..models import placement
from ..models.checkpoint import Checkpoint
from ..models.costs import GB
from . import checkpoints, data, log, loss, memory, order, parameters, samples, validation
from .cache import LatentCache, Texts
from .checkpoints import Checkpoints
from .config import TrainConfig, size_in_words
from .loop import NotFinite, Step, Trainer

CONFIG = "config.json"


class Result(NamedTuple):
    """How a run ended; ``errors`` on clips held out and ``training_errors`` are None where none were measured, ``rate`` is in
    clips a second."""

    run: Path
    step: int
    loss: float
    errors: validation.Errors | None
    training_errors: validation.Errors | None
    rate: float

    def told(self) -> dict[str, float]:
        """The errors by name, as far as they were measured."""
        held = self.errors.told() if self.errors else {}
        return held | (self.training_errors.told("training_") if self.training_errors else {})


class Session:
    """A run on its folder. Nothing is loaded before :meth:`train`."""

    def __init__(self, config: TrainConfig, reporter: Reporter, stop: Callable[[], bool]):
        self.config = config
        self.run = Path(config.output)
        self.reporter = reporter
        self.stop = stop
        log.check_trackers(config.trackers)
        _check_packages(config)
        self.accelerator = _accelerator(config)
        _check_batch(config, self.accelerator.num_processes)
        self.checkpoint = Checkpoint(config.weights, from_base=config.from_base)
        self.training, self.held_out = _sources(config, self._opened)
        self._check_sizes()

    def _opened(self, done: int, total: int) -> None:
        if self.stop():
            raise Cancelled("The clips were not all opened.", "Start again.")
        self.reporter.progress("open clips", done, total)

    @property
    def device(self) -> torch.device:
        return self.accelerator.device

    @cached_property
    def dtype(self) -> torch.dtype:
        """Of what is frozen."""
        return torch.bfloat16 if self.accelerator.mixed_precision == "bf16" else torch.float32

    @cached_property
    def plans(self) -> list[tuple[str, memory.Plan]]:
        """What each strategy needs for the largest clips."""
        largest = max((source.size for source in self.training), key=lambda size: size[0] * size[1] * size[2])
        return memory.alternatives(placement.network_of(self.checkpoint), self.config, largest, self.dtype.itemsize)

    def train(self, resume: bool) -> Result:
        """To the last step. Cancelled, saved, where ``stop`` says so; the errors of :mod:`loop` and :mod:`checkpoints`."""
        return self.course(resume).go()

    def course(self, resume: bool) -> Course:
        """All that the run needs, loaded, and its folder made."""
        kept = Checkpoints(self.run, self.config.keep)
        begun = self._begin(kept, resume)
        self.reporter.note(self.plans[0][1].sentence())
        clips, texts = self._clips()
        vae = self.checkpoint.vae(self.dtype, self.device).eval()
        trainer = self._trainer(kept)
        if begun:
            trainer.resume(checkpoints.load(begun), str(begun))
            self.reporter.note(f"Goes on after step {trainer.done}.")
        settings = loss.Settings(self.config.image_noise, self.config.drop_conditioning, self.config.drop_prompt)
        return Course(self, trainer, clips, loss.Conditioner(vae, self._steps, settings, texts.of("")))

    @cached_property
    def alphas(self) -> torch.Tensor:
        """Cumulative, of each timestep that is trained."""
        return CogVideoXDDIMScheduler.from_config(self.checkpoint.scheduler_config()).alphas_cumprod.to(self.device)

    @property
    def _steps(self) -> int:
        return len(self.alphas)

    def _begin(self, kept: Checkpoints, resume: bool) -> Path | None:
        """The checkpoint to go on from. UsageError where the folder holds a run and --resume was not said."""
        found = kept.found()
        if found and not resume:
            raise UsageError(f"{self.run} holds a training run already.", "Go on with --resume, or set another output.")
        if self.accelerator.is_main_process:
            self.run.mkdir(parents=True, exist_ok=True)
            (self.run / CONFIG).write_bytes(msgspec.json.format(msgspec.json.encode(self.config), indent=1))
        return found[-1] if found else None

    def _clips(self) -> tuple[data.Clips, Texts]:
        """All clips, those held out last, with texts and latents on the disk."""
        found = [*self.training, *self.held_out]
        folder = Path(self.config.cache_folder or Path(self.config.data) / "cache")
        texts = Texts(self.checkpoint, folder / "texts", self.dtype)
        cache = LatentCache(folder / "latents", self.checkpoint.hash("vae"), self.dtype) if self.config.cache else None
        with self.accelerator.main_process_first():
            prompts = sorted({source.clip.prompt for source in found} | {""})
            texts.build(prompts, self.checkpoint, lambda: self.checkpoint.text_encoder(self.dtype, self.device))
            if cache:
                vae = lambda: self.checkpoint.vae(self.dtype, self.device).eval()  # noqa: E731
                made = cache.build(found, vae, self.reporter.progress, self.stop)
                self.reporter.note(f"Latents of {len(found)} clips are in {cache.folder}, {made} of them new.")
        return data.Clips(found, cache, texts), texts

    def _trainer(self, kept: Checkpoints) -> Trainer:
        transformer = self.checkpoint.transformer(self.dtype, self.device).train()
        parameters.make_trainable(transformer, self.config)
        if self.config.gradient_checkpointing:
            transformer.enable_gradient_checkpointing()
        return Trainer(self.config, self.accelerator, transformer.to(self.device), kept)

    def _check_sizes(self) -> None:
        allowed = self.checkpoint.allowed_sizes()
        for source in [*self.training, *self.held_out]:
            if allowed is not None and source.size not in allowed:
                sizes = " or ".join(size_in_words(*size) for size in allowed)
                raise UsageError(f"{source.clip.video} is not of the size of these weights, {sizes}.", f"Set buckets, or make the clips so (line {source.clip.line}).")


class Course:
    """The steps of a session, with what is told, saved and validated between them."""

    def __init__(self, session: Session, trainer: Trainer, clips: data.Clips, conditioner: loss.Conditioner):
        self.session, self.trainer, self.clips, self.conditioner = session, trainer, clips, conditioner
        self.config, self.reporter = session.config, session.reporter
        self.log = log.Log(session.run, session.accelerator)
        self.last: Step | None = None
        self.errors: validation.Errors | None = None
        self.training_errors: validation.Errors | None = None
        self.seconds: list[float] = []
        self._held = list(range(len(session.training), len(clips.sources)))[: self.config.validation_clips]
        still = loss.Settings(self.config.image_noise, drop_conditioning=0.0, drop_prompt=0.0)
        self._fixed = loss.Conditioner(conditioner.vae, len(session.alphas), still)
        self._seen = list(range(len(session.training)))[: self.config.validation_training_clips]
        self._validation = validation.Validation(trainer, clips, self._fixed, session.alphas)

    def go(self) -> Result:
        """The steps that are left, and the last checkpoint."""
        try:
            self._run()
            self.trainer.save()
        finally:
            self.log.close()
        rate = self.config.batch * len(self.seconds) / sum(self.seconds) if self.seconds else 0.0
        loss = self.last.loss if self.last else log.last_loss(self.session.run)
        return Result(self.session.run, self.trainer.done, loss, self.errors, self.training_errors, rate)

    def _run(self) -> None:
        turns = order.Order(data.by_size(self.session.training), self.config.batch, self.config.seed)
        placement.begin_measuring()
        try:
            for step in self.trainer.run(self.clips, turns, self.conditioner, self.session.alphas, self.session.stop):
                self._after(step)
        except (Cancelled, NotFinite) as error:
            self.trainer.save()
            raise self._with_way_on(error) from None
        if not self.last and self._held:  # all steps had been done before
            self._validate(self.trainer.done)

    def _after(self, step: Step) -> None:
        self.last = step
        self.seconds.append(step.seconds)
        self.log.write("train", step.number, **{name: value for name, value in step._asdict().items() if name != "number"})
        if len(self.seconds) == 1:
            peak = placement.peak_memory(self.session.device.type)
            self.reporter.note(f"The first step's memory at most: {peak / GB:.2f} GB, {step.seconds:.1f} s.")
            self.log.write("memory", step.number, peak=peak, expected=self.session.plans[0][1].total)
        typical = sorted(self.seconds[-50:])[len(self.seconds[-50:]) // 2]
        self.reporter.progress("train", step.number, self.config.steps, typical * (self.config.steps - step.number))
        last = step.number == self.config.steps
        if self._held and (last or step.number % self.config.validate_every == 0):
            self._validate(step.number)
        if not last and step.number % self.config.save_every == 0:
            self.trainer.save()

    def _validate(self, step: int) -> None:
        began = time.perf_counter()
        self.errors = self._validation.errors(self._held)
        if self._seen:
            self.training_errors = self._validation.errors(self._seen)
        scores = samples.make(self.trainer, self.clips, self._held[: self.config.samples], self._fixed, self.session, step)
        seen = self.training_errors.told("training_") if self.training_errors else {}
        self.log.write("validation", step, seconds=time.perf_counter() - began, **self.errors.told(), **seen, **scores)
        scored = "".join(f", {name.replace('_', ' ')} {value:.3g}" for name, value in scores.items())
        trained = f"; on clips of the training {seen['training_matched']:.4f} (ratio {seen['training_control_ratio']:.2f})" if seen else ""
        self.reporter.note(
            f"Step {step}: error on clips held out {self.errors.matched:.4f}, with another's tracking {self.errors.shuffled:.4f} "
            f"(ratio {self.errors.control_ratio:.2f}), with none {self.errors.zero:.4f}{trained}{scored}."
        )

    def _with_way_on(self, error: Cancelled | NotFinite) -> Cancelled | NotFinite:
        if isinstance(error, Cancelled):
            return Cancelled(f"{error.message} Step {self.trainer.done} is saved.", "Go on with --resume.")
        return error


def _accelerator(config: TrainConfig) -> Accelerator:
    """bf16 on a card that has it, float32 else, unless the configuration says which."""
    chosen = config.precision
    if chosen == "auto":
        chosen = "bf16" if torch.cuda.is_available() and torch.cuda.is_bf16_supported() else "fp32"
    accelerator = Accelerator(
        mixed_precision="bf16" if chosen == "bf16" else "no",
        log_with=list(config.trackers) or None,
        project_dir=config.output,
        cpu=not torch.cuda.is_available(),
    )
    if config.trackers:
        numbers = {name: value for name, value in msgspec.structs.asdict(config).items() if isinstance(value, (int, float, str, bool))}
        accelerator.init_trackers("das", config=numbers)
    return accelerator


def _check_packages(config: TrainConfig) -> None:
    """UsageError where what the configuration asks for is not installed."""
    if config.optimizer == "adamw8bit" and not find_spec("bitsandbytes"):
        raise UsageError("The optimizer adamw8bit needs bitsandbytes.", 'Install it, or choose optimizer = "adamw".')
    if config.method == "lora" and not find_spec("peft"):
        raise UsageError("The method lora needs PEFT.", "Install the extra 'train', or choose method = \"side\".")


def _check_batch(config: TrainConfig, processes: int) -> None:
    if config.batch % (config.micro_batch * processes):
        raise UsageError(
            f"A batch of {config.batch} cannot be made of micro-batches of {config.micro_batch} on {processes} {'card' if processes == 1 else 'cards'}.",
            f"Set batch to a multiple of {config.micro_batch * processes}.",
        )


def _sources(config: TrainConfig, progress: data.Progress) -> tuple[list[data.Source], list[data.Source]]:
    """Clips to train on, and those held out: of their own folder, or the last of the dataset."""
    found = data.sources(_checked(config.data), config.buckets, progress)
    if config.validation:
        return found, data.sources(_checked(config.validation), config.buckets, progress)
    count = config.held_out
    if count >= len(found):
        raise UsageError(f"{config.data} has {len(found)} clips, and {count} are held out.", "Hold out fewer, or make more clips.")
    return found[: len(found) - count], found[len(found) - count :]


def _checked(root: str) -> list:
    """The clips of a dataset whose lists are right; UsageError with the first thing that is not, and how many there are."""
    clips = Dataset.open(Path(root)).clips
    if findings := check_lists(Path(root)):
        more = f" There are {len(findings) - 1} more: das dataset check {root} lists them." if len(findings) > 1 else ""
        raise UsageError(f"{Path(root) / findings[0].file}, line {findings[0].line}: {findings[0].message}{more}", findings[0].fix)
    if not clips:
        raise UsageError(f"{root} holds no clips.", "Make some with das dataset blender.")
    return clips
