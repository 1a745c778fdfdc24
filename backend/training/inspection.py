"""What a dataset's clips are, by decoding them: what is wrong, how much moves and is followed, and how they look. No torch."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np

from ...shared.contact_sheet import BACKGROUND, GAP, shrink, write_label
from ...shared.dataset import Clip, Dataset, Finding, check_lists
from ...shared.errors import UsageError
from ...shared.tracking import first_frame_pixels
from ..images import ImageioImages
from ..vision.footage import Movie
from .config import check_size, size_in_words

Size = tuple[int, int, int]  # width, height, frames
Progress = Callable[[int, int], None]
Found = TypeVar("Found")
TILE_WIDTH, TIMES, LABEL = 192, 4, 16


class Motion(NamedTuple):
    """``coverage``: the share of pixels that are followed, over all frames. ``moved``: how far what is followed lies from where
    it was in the first frame, in the last frame, median over its pixels, as a share of the width."""

    name: str
    coverage: float
    moved: float


def probe(file: Path) -> Size:
    """Width, height and frames of a video. UsageError where it cannot be read."""
    movie = Movie(file)
    movie.close()
    return (*movie.size, movie.count)


def each(look: Callable[[Clip], Found], clips: list[Clip], progress: Progress) -> list[Found]:
    """``look`` at each clip, on all cores: decoders leave Python's lock. The first error ends it, as does what ``progress`` raises."""
    found = []
    pool = ThreadPoolExecutor(os.cpu_count())
    try:
        for one in pool.map(look, clips):
            found.append(one)
            progress(len(found), len(clips))
    finally:
        pool.shutdown(cancel_futures=True)
    return found


def check(root: Path, progress: Progress) -> list[Finding]:
    """All that is wrong: with the lists, and, where these are right, with the clips themselves."""
    if findings := check_lists(root):
        return findings
    clips = Dataset.open(root).clips
    looked = each(_check_clip, clips, progress)
    sizes, findings = [size for size, _ in looked], [one for _, told in looked for one in told]
    known = [size for size in sizes if size]
    common = max(set(known), key=known.count) if known else None
    others = [(clip, size) for clip, size in zip(clips, sizes) if size and size != common]
    if others:
        clip, size = others[0]
        text = f"{len(others)} clip{'s are' if len(others) > 1 else ' is'} not of the size that most have, {size_in_words(*common)}: this is {size_in_words(*size)}."
        findings.append(Finding("videos.txt", clip.line, text, "Render them anew, or train with buckets (docs/training.md)."))
    return findings


def _check_clip(clip: Clip) -> tuple[Size | None, list[Finding]]:
    """Its size, None where it cannot be read, and what is wrong with it."""
    try:
        video, tracking = probe(clip.video), probe(clip.tracking)
    except UsageError as error:
        return None, [Finding("videos.txt", clip.line, error.message, error.fix)]
    findings = []
    if video != tracking:
        text = f"{clip.video.name} is {size_in_words(*video)}, and its tracking {size_in_words(*tracking)}."
        findings.append(Finding("trackings.txt", clip.line, text, "Both must have the same frames and size: make the clip anew."))
    try:
        check_size(*video, clip.video.name)
    except UsageError as error:
        findings.append(Finding("videos.txt", clip.line, error.message, error.fix))
    movie = Movie(clip.tracking)
    black = not next(movie.pictures([1])).any()
    movie.close()
    if black:
        findings.append(Finding("trackings.txt", clip.line, f"{clip.tracking.name} begins black: nothing is followed.", "Take the clip out, or make it anew."))
    return video, findings


def motions(clips: list[Clip], progress: Progress) -> Iterator[Motion]:
    """Of each clip, by its tracking's colours alone."""
    for index, clip in enumerate(clips):
        frames = ImageioImages().read_video(clip.tracking)
        followed = frames.any(axis=-1)
        height, width = frames.shape[1:3]
        there = np.stack(np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5), axis=-1)
        away = np.linalg.norm(first_frame_pixels(frames[-1] / np.float32(255), width, height) - there, axis=-1)
        last = followed[-1]
        yield Motion(clip.name, float(followed.mean()), float(np.median(away[last]) / width) if last.any() else 0.0)
        progress(index + 1, len(clips))


def preview(clips: list[Clip], progress: Progress) -> np.ndarray:
    """u8 [H,W,3]: a row a clip, its pictures above its tracking at four times."""
    rows = []
    for index, clip in enumerate(clips):
        videos = [ImageioImages().read_video(file) for file in (clip.video, clip.tracking)]
        rows.append(_row(clip, videos))
        progress(index + 1, len(clips))
    return np.concatenate(rows)


def _row(clip: Clip, videos: list[np.ndarray]) -> np.ndarray:
    count, height, width = videos[0].shape[:3]
    tile = max(1, round(TILE_WIDTH * height / width))
    row = np.full((LABEL + 2 * (tile + GAP), GAP + TIMES * (TILE_WIDTH + GAP), 3), BACKGROUND, np.uint8)
    write_label(row, f"{clip.name}".upper(), GAP, 4)
    for column, time in enumerate(np.rint(np.linspace(0, count - 1, TIMES)).astype(int)):
        left = GAP + column * (TILE_WIDTH + GAP)
        for line, video in enumerate(videos):
            top = LABEL + line * (tile + GAP // 2)
            row[top : top + tile, left : left + TILE_WIDTH] = shrink(video[min(time, len(video) - 1)], TILE_WIDTH, tile)
    return row
