"""`das benchmark tracks TAKE`: how near each embedded tracker comes to the true tracks of a rendered clip.

The take is what `das benchmark tracks FILE -o TAKE` makes in Blender: a scene's renders as its results, and tracks.npz.
It only measures: a slow machine or a poor score is no error.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np

from ...shared.errors import UsageError
from ...shared.report import Reporter
from ...shared.take import Take
from ...shared.track_files import Tracks, read_tracks
from ..images import ImageioImages
from ..vision.tracks import Score, score, track

TRACKERS = ("dis", "lucas_kanade")
AGAIN = "Make it with das benchmark tracks FILE.blend -o TAKE."


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    video, truth = read_take(args.file)
    frames, count = truth.visible.shape
    reporter.result(
        f"{Path(args.file).name}: {count} points, {frames} frames {video.shape[2]}x{video.shape[1]}, OpenCV {cv2.__version__}",
        frames=frames,
        points=count,
        size=[video.shape[2], video.shape[1]],
    )
    for name in TRACKERS:
        began = time.perf_counter()
        tracks = track(video, truth.xy[0], method=name, progress=lambda done, total: reporter.progress(name, done, total))
        _tell(reporter, name, score(tracks, truth), time.perf_counter() - began, truth)
    return 0


def read_take(folder: Path) -> tuple[np.ndarray, Tracks]:
    """The results u8 [T,H,W,3] of a take and its true tracks. UsageError where either is missing."""
    take = Take.open(folder, ImageioImages())
    if take.missing_frames():
        raise UsageError(f"{folder} lacks {len(take.missing_frames())} of its frames.", AGAIN)
    if not (folder / "tracks.npz").is_file():
        raise UsageError(f"{folder} holds no tracks.npz.", AGAIN)
    return read_frames(take), read_tracks(folder / "tracks.npz")


def read_frames(take: Take) -> np.ndarray:
    """All results, u8 [T,H,W,3]."""
    return np.stack([take.read_picture(take.frame_file(index)) for index in range(take.record.request.frames)])


def _tell(reporter: Reporter, name: str, found: Score, seconds: float, truth: Tracks) -> None:
    largest = _largest(truth)
    lines = [_line("all points", found, seconds)]
    lines += [
        _line(f"object {number}" + (", the largest" if number == largest else ""), part) for number, part in found.per_object.items()
    ]
    reporter.result(
        f"\n{name:<22} within 4 px   8 px   median error   visibility right\n" + "\n".join(lines),
        tracker=name,
        seconds=seconds,
        **_fields(found),
        objects={number: _fields(part) for number, part in found.per_object.items()},
    )


def _largest(truth: Tracks) -> int | None:
    if truth.objects is None:
        return None
    numbers, counts = np.unique(truth.objects, return_counts=True)
    return int(numbers[counts.argmax()])


def _line(title: str, part: Score, seconds: float | None = None) -> str:
    near, far = part.within.values()
    took = "" if seconds is None else f"   {seconds:.1f} s"
    return f"  {title:<22} {near:8.1%} {far:7.1%} {part.median_error:11.2f} px {part.occlusion_accuracy:14.1%}{took}"


def _fields(part: Score) -> dict:
    return {"within": part.within, "occlusion_accuracy": part.occlusion_accuracy, "median_error": part.median_error}
