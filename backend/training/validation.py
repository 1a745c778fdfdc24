"""What the model has learnt, on clips that it has not seen: does it follow its tracking, and what does it make?

The control ratio is the error of v with another clip's tracking over that with the clip's own, at the same noise and
timesteps each time: 1 means that the tracking is not looked at.
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


class Validation:
    """Measures a trainer's model on clips ``numbers`` of ``clips``, spread over all processes."""

    def __init__(self, trainer: Trainer, clips: Clips, numbers: list[int], conditioner: loss.Conditioner, alphas: torch.Tensor):
        self._trainer, self._clips, self._numbers = trainer, clips, numbers
        self._conditioner, self._alphas = conditioner, alphas
        self._black: dict[torch.Size, Latents] = {}

    @torch.no_grad()
    def errors(self) -> Errors:
        """Of the model as it is now."""
        accelerator, transformer = self._trainer.accelerator, self._trainer.transformer
        totals = torch.zeros(4, device=accelerator.device, dtype=torch.float64)
        transformer.eval()
        for place in range(accelerator.process_index, len(self._numbers), accelerator.num_processes):
            for draw in range(DRAWS):
                totals += torch.tensor([*self._one(place, draw), 1.0]).to(totals)
        transformer.train()
        totals = accelerator.reduce(totals, "sum")
        return Errors(*(totals[:3] / totals[3]).tolist())

    def _one(self, place: int, draw: int) -> Iterator[float]:
        """The error with each tracking, of one clip at one timestep and noise."""
        sample = self._sample(self._numbers[place], place)
        clip, other = sample.clip, self._sample(self._other(place), place).clip
        given = self._conditioner([clip], [sample.text], [order.generator(SEED, draw, place)])
        for tracking in (None, other, self._nothing(clip)):
            maps = None if tracking is None else self._conditioner.maps(tracking, order.generator(SEED, draw, place))[None]
            yield loss.v_error(self._trainer.transformer, given, self._alphas, maps).item()

    def _sample(self, number: int, place: int) -> Sample:
        found = self._clips[SEED, place, number]
        moments = as_latents(self._conditioner.vae, found.clip)
        return found._replace(clip=Latents(*(part.to(self._conditioner.vae.device) for part in moments)))

    def _other(self, place: int) -> int:
        """The next clip of the same size, or the clip itself where there is none."""
        size = self._clips.sources[self._numbers[place]].size
        turned = [*self._numbers[place + 1 :], *self._numbers[:place]]
        return next((number for number in turned if self._clips.sources[number].size == size), self._numbers[place])

    def _nothing(self, like: Latents) -> Latents:
        """A black tracking video of a clip's size."""
        if like.video.shape not in self._black:
            frames = np.zeros((4 * (like.video.shape[1] - 1) + 1, *like.picture.shape), np.uint8)
            self._black[like.video.shape] = encode(self._conditioner.vae, Pictures(frames, frames))
        return self._black[like.video.shape]
