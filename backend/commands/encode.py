"""`das encode TAKE`: the tracking video and the results as lossless FFV1, for tools that take no PNG folders."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ...shared.errors import GenerationError, UsageError
from ...shared.report import Reporter
from ...shared.take import Take
from ...shared.timeline import video_fps
from ..images import ImageioImages


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    """Write tracking.mkv and, where all results are there, frames.mkv into the take."""
    take = Take.open(args.take, ImageioImages())
    written = encode(take, reporter)
    reporter.result("\n".join(str(file) for file in written), files=[str(file) for file in written])
    return 0


def encode(take: Take, reporter: Reporter) -> list[Path]:
    """The files written. UsageError where the take lacks frames that it should hold."""
    count = take.record.request.frames
    sources = {"tracking": [take.tracking_file(index) for index in range(count)]}
    if take.missing_frames():
        reporter.note("The take's results are not complete, so only its tracking video is encoded.")
    else:
        sources["frames"] = [take.frame_file(index) for index in range(count)]
    return [_encode_one(take, name, files, reporter) for name, files in sources.items()]


def _encode_one(take: Take, name: str, files: list[Path], reporter: Reporter) -> Path:
    request = take.record.request
    file = take.folder / f"{name}.mkv"
    fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
    try:
        take.images.write_lossless(file, _pictures(take, name, files, reporter), fps)
    except OSError as error:
        raise GenerationError(f"{file} cannot be written: {error.strerror or error}.", "Free some space.") from error
    return file


def _pictures(take: Take, name: str, files: list[Path], reporter: Reporter) -> Iterator[np.ndarray]:
    expected = (take.record.request.height, take.record.request.width, 3)
    for index, file in enumerate(files):
        pixels = take.images.read(file)
        if pixels.shape != expected:
            raise UsageError(f"{file} is not of the take's size.", "Make the take again.")
        yield pixels
        reporter.progress(f"encode {name}", index + 1, len(files))
