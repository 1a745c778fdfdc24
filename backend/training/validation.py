"""What the model has learnt, on clips that it has not seen, and on some that it has: does it follow its tracking?

The control ratio is the error of v with another clip's tracking over that with the clip's own, at the same noise and
timesteps each time: 1 means that the tracking is not looked at. Timesteps are spread evenly over all that are trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from . import loss, order
from .data import Clips, Latents, Pictures, Sample, encode
from .loop import Trainer, as_latents

SEED = 1_000_003  # of all draws of validation: the same at each step of every run
DRAWS = 2  # timesteps and noises of each clip


class Errors(NamedTuple):
    """Mean squared errors of v with the clips' own tracking, with another clip's, and with a black one."""

    matched: float
    shuffled: float
    zero: float

    @property
    def control_ratio(self) -> float:
        return self.shuffled / self.matched

    def told(self, prefix: str = "") -> dict[str, float]:
        """All four by name, as logs hold them."""
        return {f"{prefix}{name}": value for name, value in [*self._asdict().items(), ("control_ratio", self.control_ratio)]}


class Validation:
    """Measures a trainer's model on clips of ``clips``, spread over all processes."""

    def __init__(self, trainer: Trainer, clips: Clips, conditioner: loss.Conditioner, alphas: torch.Tensor):
        self._trainer, self._clips = trainer, clips
        self._conditioner, self._alphas = conditioner, alphas
        self._black: dict[torch.Size, Latents] = {}

    @torch.no_grad()
    def errors(self, numbers: list[int]) -> Errors:
        """On the clips of these numbers, of the model as it is now."""
        accelerator, transformer = self._trainer.accelerator, self._trainer.transformer
        totals = torch.zeros(4, device=accelerator.device, dtype=torch.float64)
        transformer.eval()
        for place in range(accelerator.process_index, len(numbers), accelerator.num_processes):
            sample, other = self._sample(numbers[place], place), self._sample(self._other(numbers, place), place)
            for draw in range(DRAWS):
                step = timestep(place, draw, len(numbers), len(self._alphas))
                totals += torch.tensor([*self._one(sample, other, draw, step), 1.0]).to(totals)
        transformer.train()
        totals = accelerator.reduce(totals, "sum")
        return Errors(*(totals[:3] / totals[3]).tolist())

    def _one(self, sample: Sample, other: Sample, draw: int, step: int) -> Iterator[float]:
        """The error with each tracking, of one clip at one timestep and noise."""
        given = self._conditioner([sample.clip], [sample.text], [order.generator(SEED, draw, sample.place)])
        given = given._replace(timestep=torch.full_like(given.timestep, step))
        for tracking in (None, other.clip, self._nothing(sample.clip)):
            maps = None if tracking is None else self._conditioner.maps(tracking, order.generator(SEED, draw, sample.place))[None]
            yield loss.v_error(self._trainer.transformer, given, self._alphas, maps).item()

    def _sample(self, number: int, place: int) -> Sample:
        found = self._clips[SEED, place, number]
        moments = as_latents(self._conditioner.vae, found.clip)
        return found._replace(clip=Latents(*(part.to(self._conditioner.vae.device) for part in moments)))

    def _other(self, numbers: list[int], place: int) -> int:
        """The next clip of the same size, or the clip itself where there is none."""
        size = self._clips.sources[numbers[place]].size
        turned = [*numbers[place + 1 :], *numbers[:place]]
        return next((number for number in turned if self._clips.sources[number].size == size), numbers[place])

    def _nothing(self, like: Latents) -> Latents:
        """A black tracking video of a clip's size."""
        if like.video.shape not in self._black:
            frames = np.zeros((4 * (like.video.shape[1] - 1) + 1, *like.picture.shape), np.uint8)
            self._black[like.video.shape] = encode(self._conditioner.vae, Pictures(frames, frames))
        return self._black[like.video.shape]


def timestep(place: int, draw: int, clips: int, steps: int) -> int:
    """Of a clip's draw: together they are spread evenly over all steps, and each clip has one of every part."""
    return int((draw * clips + place + 0.5) / (DRAWS * clips) * steps)
