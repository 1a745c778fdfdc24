"""A dataset's clips as the model takes them: decoded, brought to their bucket, encoded by the VAE.

Pictures go into the VAE in -1..1, video and tracking alike, as the published model was trained.
"""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from ...shared.dataset import Clip
from ...shared.errors import UsageError
from ..models import decode, latents
from ..vision.footage import Movie
from ..vision.window import ASPECT_TOLERANCE, Look, Window
from .config import check_size, parse_bucket, size_in_words
from .inspection import Progress, Size, each, probe


class Source(NamedTuple):
    """A clip and the size that it is trained at."""

    clip: Clip
    size: Size


class Pictures(NamedTuple):
    """A clip's frames and its tracking video's, both u8 [T,H,W,3]."""

    video: np.ndarray
    tracking: np.ndarray


class Latents(NamedTuple):
    """Moments of the posteriors, unscaled: of the video and of the tracking video [2C,F,h,w], of the tracking's first frame
    [2C,1,h,w]; and the first frame itself, u8 [H,W,3], which gets its noise as pixels at each step."""

    video: torch.Tensor
    tracking: torch.Tensor
    begin: torch.Tensor
    picture: torch.Tensor


class Sample(NamedTuple):
    """What one clip brings to one place of one step; ``text`` [L,D]."""

    step: int
    place: int
    name: str
    clip: Latents | Pictures
    text: torch.Tensor


def sources(clips: list[Clip], buckets: tuple[str, ...], progress: Progress = lambda done, total: None) -> list[Source]:
    """Each clip with its size: its own, or the first bucket of its aspect that it is long enough for. Each video is opened.

    UsageError where a clip cannot be read, has a size the model cannot make, or fits no bucket. What ``progress`` raises ends it.
    """
    sizes = [parse_bucket(text) for text in buckets]
    return each(lambda clip: Source(clip, _bucket(clip, sizes)), clips, progress)


def by_size(found: list[Source]) -> list[list[int]]:
    """The numbers of the clips of each size."""
    groups: dict[Size, list[int]] = {}
    for index, source in enumerate(found):
        groups.setdefault(source.size, []).append(index)
    return list(groups.values())


def _bucket(clip: Clip, buckets: list[Size]) -> Size:
    own = probe(clip.video)
    if not buckets:
        check_size(*own, str(clip.video))
        return own
    for size in buckets:
        if abs(own[0] / own[1] * size[1] / size[0] - 1) <= ASPECT_TOLERANCE and size[2] <= own[2]:
            return size
    raise UsageError(
        f"{clip.video} is {size_in_words(*own)}, which fits none of the buckets.",
        f"Add a bucket of its shape, or take the clip (line {clip.line}) out of the lists.",
    )


def read_pictures(source: Source) -> Pictures:
    """The clip's first frames at its size. Colours of the tracking are never mixed: the nearest pixel's is taken."""
    return Pictures(_read(source.clip.video, source.size, "colour"), _read(source.clip.tracking, source.size, "values"))


def _read(file: Path, size: Size, look: Look) -> np.ndarray:
    movie = Movie(file)
    try:
        if movie.count < size[2]:
            raise UsageError(f"{file} has {movie.count} frames, and {size[2]} are needed.", "Take the clip out of the lists, or choose a shorter bucket.")
        window = Window(movie.size, size[:2])
        return np.stack([window.picture(frame, look, str(file)) for frame in movie.pictures(range(1, size[2] + 1))])
    finally:
        movie.close()


@torch.no_grad()
def encode(vae, pictures: Pictures, *, tiled: bool = False) -> Latents:
    """The moments, on the VAE's device and in its type."""

    def moments(frames: np.ndarray) -> torch.Tensor:
        parts = decode.encode(vae, latents.to_pictures(frames, vae.device, vae.dtype), tiled=tiled)
        return torch.cat(list(parts), dim=2)[0]

    first = torch.from_numpy(pictures.video[0].copy())
    return Latents(moments(pictures.video), moments(pictures.tracking), moments(pictures.tracking[:1]), first)


def draw_from(moments: torch.Tensor, random: torch.Generator) -> torch.Tensor:
    """Unscaled latents [F,C,h,w], float32, from moments [2C,F,h,w]; drawn on the CPU, arrives where the moments are."""
    return latents.from_moments([moments[None].float()], random)[0]


class Clips(Dataset):
    """Samples by (step, place, clip number), for a DataLoader; decoded, or from a cache."""

    def __init__(self, found: list[Source], cache, texts):
        self.sources = found
        self._cache = cache
        self._texts = texts

    def __getitem__(self, which: tuple[int, int, int]) -> Sample:
        step, place, number = which
        source = self.sources[number]
        clip = self._cache.load(source) if self._cache else read_pictures(source)
        return Sample(step, place, source.clip.name, clip, self._texts.of(source.clip.prompt))


def loader(clips: Clips, batches: Iterator[list[tuple[int, int, int]]], workers: int) -> DataLoader:
    """Lists of samples, read ahead by ``workers`` processes.

    These are spawned: a fork gets the decoders of this process without their threads, and waits for those for ever when it
    frees what it never used.
    """
    context = "spawn" if workers else None
    return DataLoader(clips, batch_sampler=batches, num_workers=workers, collate_fn=list, multiprocessing_context=context, worker_init_fn=_leave_interrupts)


def _leave_interrupts(worker: int) -> None:
    """A terminal's Ctrl-C reaches all processes: the main one ends the run, and needs the others until then."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
