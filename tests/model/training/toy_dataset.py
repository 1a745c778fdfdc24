"""A dataset of moving shapes, as das dataset blender would lay it out, made in a second without Blender."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

import tiny_training  # noqa: E402

from diffusion_as_shader.backend.images import ImageioImages  # noqa: E402
from diffusion_as_shader.shared.dataset import ClipRecord, Dataset  # noqa: E402

SETTINGS = """
data = "{data}"
weights = "{weights}"
output = "run"
steps = 4
batch = 4
micro_batch = 2
warmup = 1
schedule = "constant"
learning_rate = 3e-3
held_out = 2
samples = 0
validate_every = 1000
save_every = 2
workers = 0
"""


def write_dataset(root: Path, count: int, seed: int = 0) -> Dataset:
    """Clips of 96x64 and 9 frames, lossless, so that what is read is what was drawn."""
    rng = np.random.default_rng(seed)
    clips = tiny_training.draw([tiny_training.random_scene(rng) for _ in range(count)])
    dataset = Dataset.create(root)
    for index, (video, tracking) in enumerate(zip(*clips), start=1):
        name = f"{index:05d}"
        record = ClipRecord(
            name=name,
            prompt=tiny_training.PROMPT if index % 2 else "other shapes",
            video=f"videos/{name}.mkv",
            tracking=f"tracking/{name}_tracking.mkv",
            frames=tiny_training.FRAMES,
            width=tiny_training.WIDTH,
            height=tiny_training.HEIGHT,
            fps=8.0,
        )
        for path, frames in ((record.video, video), (record.tracking, tracking)):
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            ImageioImages().write_lossless(root / path, frames, record.fps)
        dataset.append(record)
    return dataset
