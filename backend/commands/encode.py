"""`das encode TAKE`: the tracking video and the results as lossless video, for tools that take no PNG folders."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np

from ...shared.errors import GenerationError, UsageError
from ...shared.report import Reporter
from ...shared.take import Take
from ...shared.timeline import video_fps
from ..images import ImageioImages

Codec = Literal["ffv1", "h264"]


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    """Write tracking.mkv (or .mp4) and, where all results are there, frames.mkv into the take."""
    take = Take.open(args.take, ImageioImages())
    written = encode(take, reporter, args.codec)
    reporter.result("\n".join(str(file) for file in written), files=[str(file) for file in written])
    return 0


def encode(take: Take, reporter: Reporter, codec: Codec = "ffv1") -> list[Path]:
    """The files written, each of whose frames comes back exactly. UsageError where the take lacks frames that it should hold."""
    count = take.record.request.frames
    sources = {"tracking": [take.tracking_file(index) for index in range(count)]}
    if take.missing_frames():
        reporter.note("The take's results are not complete, so only its tracking video is encoded.")
    else:
        sources["frames"] = [take.frame_file(index) for index in range(count)]
    return [_encode_one(take, name, files, reporter, codec) for name, files in sources.items()]


def _encode_one(take: Take, name: str, files: list[Path], reporter: Reporter, codec: Codec) -> Path:
    request = take.record.request
    file = take.folder / f"{name}{'.mkv' if codec == 'ffv1' else '.mp4'}"
    write = take.images.write_lossless if codec == "ffv1" else take.images.write_lossless_h264
    fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
    try:
        write(file, _pictures(take, name, files, reporter), fps)
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
