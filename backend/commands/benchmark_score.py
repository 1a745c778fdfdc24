"""`das benchmark score FOLDER`: the control score of true renders beside that of wrong ones, and of ones that only look different.

FOLDER is what `das benchmark score FILE -o FOLDER` makes in Blender. It only measures: a wrong rank is told, and is no error.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from ...shared.control_score import ControlScore, with_names
from ...shared.ranking import OBJECTS_SHOWN, name_of
from ...shared.report import Reporter
from ...shared.take import Take
from ...shared.true_tracks import object_names, true_tracks
from ..images import ImageioImages
from ..vision.control import score_video
from .benchmark_tracks import read_frames

LATE = 3  # frames
TRUE, ALIKE, WRONG = "true render", ("noise", "other colours"), ("late", "wrong camera", "frozen")


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    true = Take.open(args.file / "true", ImageioImages())
    truth, names = true_tracks(true), object_names(true)
    scores: dict[str, ControlScore] = {}
    for step, (name, make) in enumerate(videos(args.file).items()):
        reporter.progress("scores", step, len(videos(args.file)))
        scores[name] = with_names(score_video(make(), truth), names)
    _tell(reporter, args.file.resolve().name, true, scores)
    return 0


def videos(folder: Path) -> dict[str, Callable[[], np.ndarray]]:
    """What is scored, u8 [T,H,W,3] by its name. The first frame is the true one in all of them, as it is in a generation."""

    def true() -> np.ndarray:
        return read_frames(Take.open(folder / "true", ImageioImages()))

    return {
        TRUE: true,
        "noise": lambda: with_noise(true()),
        "other colours": lambda: in_other_colours(true()),
        "late": lambda: late(true()),
        "wrong camera": lambda: read_frames(Take.open(folder / "wrong camera", ImageioImages())),
        "frozen": lambda: np.repeat(true()[:1], len(true()), axis=0),
    }


def with_noise(video: np.ndarray) -> np.ndarray:
    """Grain of its own in each frame, 6 levels strong."""
    grain = np.random.default_rng(0).normal(0, 6, video.shape)
    return np.clip(video + grain, 0, 255).astype(np.uint8)


def in_other_colours(video: np.ndarray) -> np.ndarray:
    """Red and blue exchanged, and less contrast."""
    return np.rint(video[..., ::-1] * 0.7 + 30).astype(np.uint8)


def late(video: np.ndarray) -> np.ndarray:
    """The motion begins LATE frames after it should."""
    return video[np.maximum(np.arange(len(video)) - LATE, 0)]


def ranked(scores: dict[str, ControlScore]) -> bool:
    """Whether every wrong video is below the true one, and below those that only look different."""
    right = min(scores[name].value for name in (TRUE, *ALIKE))
    return all(scores[name].value < right for name in WRONG)


def _tell(reporter: Reporter, name: str, true: Take, scores: dict[str, ControlScore]) -> None:
    request, points = true.record.request, scores[TRUE].points
    titles = {"late": f"{LATE} frames late"}
    lines = [f"{name}: {points} points, {request.frames} frames {request.width}x{request.height}", "", f"{'':<16} score   median error   within 4 px    8 px   its largest objects"]
    for video, found in scores.items():
        largest = sorted((part for part in found.objects if part.value is not None), key=lambda part: -part.points)[:OBJECTS_SHOWN]
        parts = ", ".join(f"{name_of(part)} {part.value:.3f}" for part in largest)
        lines.append(
            f"{titles.get(video, video):<16} {found.value:5.3f} {found.median_error:11.2f} px {found.within[4]:10.1%} {found.within[8]:8.1%}   {parts}"
        )
    lines.append("\nRanked as they should be." if ranked(scores) else "\nRANKED WRONGLY.")
    reporter.result("\n".join(lines), scores=msgspec.to_builtins(scores, str_keys=True), ranked=ranked(scores))
