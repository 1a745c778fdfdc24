"""A dataset of clips that slide evenly, made in a second: what moves, and how far, is known."""

from pathlib import Path

import numpy as np

from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.shared.dataset import ClipRecord, Dataset
from diffusion_as_shader.shared.tracking import quantise

WIDTH, HEIGHT, FRAMES = 96, 64, 9


def write_dataset(root: Path, count: int, pixels_a_frame: int = 3) -> Dataset:
    """Each clip's picture goes to the left by so much a frame; what comes in at the right is black in the tracking."""
    dataset = Dataset.create(root)
    for index in range(1, count + 1):
        add_clip(dataset, f"{index:05d}", pixels_a_frame, seed=index)
    return dataset


def add_clip(dataset: Dataset, name: str, pixels_a_frame: int, *, size: tuple[int, int] = (WIDTH, HEIGHT), frames: int = FRAMES, seed: int = 0) -> None:
    width, height = size
    wall = np.random.default_rng(seed).integers(1, 256, (height // 8, width // 4, 3)).astype(np.uint8).repeat(8, 0).repeat(8, 1)
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    code = quantise(np.stack([*np.meshgrid(x / width, y / height), np.ones((height, width))], axis=-1))
    video, tracking = np.empty((2, frames, height, width, 3), np.uint8)
    for time in range(frames):
        shift = pixels_a_frame * time
        video[time] = wall[:, shift : shift + width]
        tracking[time] = 0
        tracking[time, :, : width - shift] = code[:, shift:]
    record = ClipRecord(
        name=name, prompt=f"wall {seed}", video=f"videos/{name}.mkv", tracking=f"tracking/{name}_tracking.mkv",
        frames=frames, width=width, height=height, fps=8.0,
    )  # fmt: skip
    for path, pictures in ((record.video, video), (record.tracking, tracking)):
        (dataset.root / path).parent.mkdir(parents=True, exist_ok=True)
        ImageioImages().write_lossless(dataset.root / path, pictures, record.fps)
    dataset.append(record)
