"""Which clips a step sees, and what it draws: functions of the seed and the step alone.

Nothing of it has a state, so a run goes on to the bit from its step's number, and two processes draw what one would.
"""

from __future__ import annotations

import numpy as np
import torch


class Order:
    """Every clip once an epoch, in batches of one bucket each; a bucket's last batch is filled from the bucket's beginning.

    ``buckets`` are lists of clip numbers, ``batch`` the clips of a step.
    """

    def __init__(self, buckets: list[list[int]], batch: int, seed: int):
        self._buckets = [bucket for bucket in buckets if bucket]
        self._batch = batch
        self._seed = seed
        self.steps_an_epoch = sum(-(-len(bucket) // batch) for bucket in self._buckets)

    def clips_of(self, step: int) -> list[int]:
        """The clips of a step, counted from 0."""
        epoch, index = divmod(step, self.steps_an_epoch)
        return self._epoch(epoch)[index]

    def _epoch(self, epoch: int) -> list[list[int]]:
        rng = np.random.default_rng((self._seed, epoch))
        batches = []
        for bucket in self._buckets:
            order = rng.permutation(bucket)
            for start in range(0, len(order), self._batch):
                batches.append(np.take(order, range(start, start + self._batch), mode="wrap").tolist())
        return [batches[i] for i in rng.permutation(len(batches))]


def generator(seed: int, step: int, place: int) -> torch.Generator:
    """For all that is drawn for one clip of one step, on the CPU: a seed means the same on every device."""
    return torch.Generator().manual_seed(int(np.random.SeedSequence((seed, step, place)).generate_state(1)[0]))
