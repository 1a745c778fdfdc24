"""One generation with the model: prompt, encode, denoise, decode, each a phase with its progress.

Draws come in the order of diffusers' own pipeline from a generator of the request's seed (:func:`latents.generators`),
so that the same request gives the same frames to the bit on one device.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from importlib.metadata import version

import numpy as np
import torch
from diffusers import CogVideoXDDIMScheduler
from einops import rearrange

from ...shared import home
from ...shared.errors import Cancelled, UsageError
from ...shared.request import GenerationRequest
from .. import engines
from . import decode, latents, placement, preview, sampling, speed, text
from .checkpoint import Checkpoint
from .plans import Plan

SECONDS_BETWEEN_PREVIEWS = 1.0
LIBRARIES = ("torch", "diffusers", "transformers")

Events = Iterator[engines.Event]


class Pipeline:
    """A checkpoint under a memory plan: what of it is loaded, and generations with it."""

    def __init__(self, checkpoint: Checkpoint, plan: Plan):
        self.checkpoint = checkpoint
        self.plan = plan
        self._stamps = _stamps(checkpoint)
        self._tokenizer = None
        self._transformer = None
        self._vae = None
        self._hashes: dict[str, str] = {}

    def serves(self, checkpoint: Checkpoint, plan: Plan) -> bool:
        """Whether what is loaded is what another generation asks for."""
        own = self.checkpoint
        same = own.place == checkpoint.place and own.from_base == checkpoint.from_base and self._stamps == _stamps(checkpoint)
        return same and self.plan == plan

    def check(self, request: GenerationRequest) -> None:
        """UsageError where this checkpoint cannot make what is asked, before anything is loaded."""
        allowed = self.checkpoint.allowed_sizes()
        size = (request.width, request.height, request.frames)
        if allowed is not None and size not in allowed:
            sizes = " or ".join(_size_in_words(one) for one in allowed)
            raise UsageError(
                f"The weights {self.checkpoint.name} make {sizes}, not {_size_in_words(size)}.",
                "Change size and frame count, or choose other weights.",
            )

    def release(self) -> None:
        """Give back all memory; the next generation loads again."""
        self._transformer = self._vae = None
        placement.give_back_memory()

    def generate(
        self, request: GenerationRequest, signals: dict[str, np.ndarray], cancelled: Callable[[], bool]
    ) -> Events:
        """Frames in order, then the Report. Raises Cancelled between blocks of the transformer and batches of frames."""
        stop = _stop_if(cancelled)
        generator, tracking_generator = latents.generators(request.seed)
        notes = list(self.checkpoint.notes)
        texts = yield from self._texts(request, notes)
        stop()
        yield from self._load(stop)
        notes += speed.prepare(self._transformer, self.plan, request.quality)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            with placement.away(self._transformer, self.plan):
                image, tracking, to_rgb = yield from self._encode(request, signals, generator, tracking_generator, stop)
            conditions = sampling.Conditions(*(one.to(image) for one in texts), image, tracking)
            x = yield from self._denoise(request, conditions, generator, to_rgb, cancelled)
            with placement.away(self._transformer, self.plan):
                yield from self._decode(x, stop)
        yield engines.Report(["tracking", "first_frame"], notes, self._versions())

    def _texts(self, request: GenerationRequest, notes: list[str]) -> Iterator[engines.Event]:
        """Phase ``prompt``; embeddings of the prompt and of the negative one."""
        yield engines.Progress("prompt", 0, 1)
        if self._tokenizer is None:
            self._tokenizer = self.checkpoint.tokenizer()
        length = self.checkpoint.text_length
        negative = request.negative_prompt
        if not negative and text.fits(self._tokenizer, text.NEGATIVE_PROMPT, length):
            negative = text.NEGATIVE_PROMPT
        elif not negative:
            notes.append("The usual negative prompt is too long for these weights: none was used.")
        for words, name in ((request.prompt, "prompt"), (negative, "negative prompt")):
            text.tokens(self._tokenizer, words, length, name)
        cache = text.EmbeddingCache(home.home() / "embeddings", self.checkpoint.hash("text_encoder"), self.plan.dtype)
        found = text.embeddings([request.prompt, negative], length, self._tokenizer, cache, self._text_encoder)
        yield engines.Progress("prompt", 1, 1)
        return found

    def _text_encoder(self) -> torch.nn.Module:
        size = placement.parameters_of(self.checkpoint, "text_encoder") * self.plan.dtype.itemsize
        return self.checkpoint.text_encoder(self.plan.dtype, placement.text_device(self.plan, size))

    def _load(self, stop: Callable[[], None]) -> Events:
        """Phase ``load``, where transformer or VAE are not there yet."""
        if self._transformer is not None and self._vae is not None:
            return
        yield engines.Progress("load", 0, 3)
        self._vae = self.checkpoint.vae(self.plan.dtype, self.plan.device).eval()
        yield engines.Progress("load", 1, 3)
        stop()
        self._transformer = placement.load_transformer(self.checkpoint, self.plan)
        yield engines.Progress("load", 2, 3)
        stop()
        self._hashes = self.checkpoint.hashes
        yield engines.Progress("load", 3, 3)
        stop()

    def _encode(
        self,
        request: GenerationRequest,
        signals: dict[str, np.ndarray],
        generator: torch.Generator,
        tracking_generator: torch.Generator,
        stop: Callable[[], None],
    ) -> Iterator[engines.Event]:
        """Phase ``encode``; image latents, tracking maps, and the map from latents to colours."""
        picture = self._pictures(signals["first_frame"][None])
        beginning = self._pictures(signals["tracking"][:1])
        # Of the range that is asked for; its first frame alone is in -1..1 in the reference too.
        video = self._pictures(signals["tracking"], signed=request.tracking_range == "signed")
        moments = yield from self._moments([picture, beginning, video], stop)
        first = latents.from_moments(moments[0], generator)
        motion = latents.from_moments(moments[2], tracking_generator)
        begun = latents.from_moments(moments[1], tracking_generator)
        factor, scale = self._vae.config.scaling_factor, latents.image_latent_scale(self._vae, request.image_latent_scale)
        image = latents.after_first(scale * first, motion.shape[1])
        tracking = torch.cat([factor * motion, latents.after_first(scale * begun, motion.shape[1])], dim=2)
        to_rgb = preview.fit([(factor * first, picture), (factor * motion, video)])
        return image, tracking, to_rgb

    def _moments(self, clips: list[torch.Tensor], stop: Callable[[], None]) -> Iterator[engines.Event]:
        """The posteriors' moments of each clip, in parts."""
        batch = self._vae.num_sample_frames_batch_size
        total = sum(len(decode.frame_batches(clip.shape[2], batch)) for clip in clips)
        found, done = [], 0
        yield engines.Progress("encode", done, total)
        for clip in clips:
            found.append([])
            for part in decode.encode(self._vae, clip, tiled=self.plan.tiled, spilled=self.plan.spilled):
                found[-1].append(part)
                done += 1
                yield engines.Progress("encode", done, total)
                stop()
        return found

    def _pictures(self, frames: np.ndarray, signed: bool = True) -> torch.Tensor:
        return latents.to_pictures(frames, self._vae.device, self._vae.dtype, signed=signed)

    def _denoise(
        self,
        request: GenerationRequest,
        conditions: sampling.Conditions,
        generator: torch.Generator,
        to_rgb: torch.Tensor,
        cancelled: Callable[[], bool],
    ) -> Iterator[engines.Event]:
        """Phase ``denoise``; the clean latents."""
        schedule = sampling.trailing_schedule(CogVideoXDDIMScheduler.from_config(self.checkpoint.scheduler_config()), request.steps)
        scales = sampling.guidance_scale(request.guidance, request.guidance_scale, schedule)
        model = sampling.guided(self._transformer, conditions, scales, batched=self.plan.batched)
        # In float32 whatever the transformer computes in: rounding to bf16 at each step would add up.
        noise = sampling.drawn(generator, conditions.image.float())
        yield engines.Progress("denoise", 0, request.steps)
        shown, x = float("-inf"), noise()
        with sampling.cancellable(self._transformer, cancelled):
            for step in sampling.sample(request.scheduler, model, x, schedule, noise):
                x = step.x
                yield engines.Progress("denoise", step.index + 1, request.steps)
                if time.monotonic() - shown >= SECONDS_BETWEEN_PREVIEWS:
                    shown = time.monotonic()
                    yield engines.Preview(preview.preview(step.x0, to_rgb))
        return x

    def _decode(self, x: torch.Tensor, stop: Callable[[], None]) -> Events:
        """Phase ``decode``: frames as they are decoded."""
        z = rearrange(x / self._vae.config.scaling_factor, "1 f c h w -> 1 c f h w").to(self._vae.dtype)
        total, index = 4 * (z.shape[2] - 1) + 1, 0
        yield engines.Progress("decode", 0, total)
        stop()
        for pictures in decode.decode(self._vae, z, tiled=self.plan.tiled, spilled=self.plan.spilled):
            for frame in latents.to_frames(pictures):
                yield engines.Frame(index, frame)
                index += 1
            yield engines.Progress("decode", index, total)
            stop()

    def _versions(self) -> dict[str, str]:
        made_with = {name: version(name) for name in LIBRARIES}
        hashes = {f"weights {name}": value for name, value in self._hashes.items()}
        return made_with | hashes | {"weights": self.checkpoint.name, "memory plan": self.plan.name}


def _stop_if(cancelled: Callable[[], bool]) -> Callable[[], None]:
    def stop() -> None:
        if cancelled():
            raise Cancelled("The generation was cancelled.")

    return stop


def _size_in_words(size: tuple[int, int, int]) -> str:
    return "{}x{} and {} frames".format(*size)


def _stamps(checkpoint: Checkpoint) -> list[tuple[str, int, int]]:
    """Name, length and time of the files that stay loaded: weights that have changed on the disk are loaded again."""
    files = sorted(file for part in ("transformer", "vae") for file in (checkpoint.place.folder / part).glob("*"))
    return [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
