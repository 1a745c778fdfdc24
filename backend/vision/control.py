"""The control score of a result: its first frame's points are tracked again and compared with the truth (docs/best-of-n.md)."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import msgspec
import numpy as np

from ...shared.control_score import ControlScore, ObjectScore
from ...shared.track_files import Tracks
from .tracks import Score, score, track

TRACKER = "dis"
FAR = 1 / 24  # of the picture's width: an error, or a motion, of more counts no more
STILL = 1.0  # pixels, of mean motion: less is none


def score_video(
    frames: np.ndarray,
    truth: Tracks,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> ControlScore:
    """How well a video u8 [T,H,W,3] keeps to ``truth``, whose points are all visible in its first frame. The same every time.

    UsageError where the video is one frame or of another length than the truth, Cancelled where ``cancelled`` says so.
    """
    tracks = track(frames, truth.xy[0], method=TRACKER, cancelled=cancelled, progress=progress)
    return score_tracks(tracks, truth, frames.shape[2])


def score_tracks(tracks: Tracks, truth: Tracks, width: int) -> ControlScore:
    """As :func:`score_video`, of the tracks that were found in a video so wide.

    A point counts until it is truly hidden for the first time, and one that has no place as if it stood still. For each
    object the mean error of its points is set against their mean motion, both counted up to FAR, and so many points count as
    their square root: neither a ground that fills the picture nor a still one drowns what moves.
    """
    if truth.objects is None:
        truth = msgspec.structs.replace(truth, objects=np.ones(truth.xy.shape[1], np.uint16))
    tracks = msgspec.structs.replace(tracks, xy=np.where(np.isfinite(tracks.xy), tracks.xy, truth.xy[0]))
    known = msgspec.structs.replace(truth, visible=np.logical_and.accumulate(truth.visible, axis=0))
    if not known.visible[1:].any():
        return ControlScore(points=truth.xy.shape[1], tracker=TRACKER, why_not="None of its points stays in sight.")
    figures, visibility = score(tracks, known), score(tracks, truth)
    numbers = [number for number in figures.per_object if known.visible[1:, truth.objects == number].any()]
    means = [_means(tracks, known, number, FAR * width) for number in numbers]
    return ControlScore(
        points=truth.xy.shape[1],
        tracker=TRACKER,
        objects=[
            ObjectScore(
                number=number,
                points=mean.points,
                value=_value(mean.error, mean.motion) if mean.motion > STILL else None,
                motion=mean.typical_motion,
                **_figures(figures.per_object[number], visibility.per_object[number]),
            )
            for number, mean in zip(numbers, means)
        ],
        **_whole(means),
        **_figures(figures, visibility),
    )


class _Means(NamedTuple):
    """One object's points: how far they are, up to a bound, from where they truly are, and truly from the first frame; pixels."""

    points: int
    error: float
    motion: float
    typical_motion: float


def _means(tracks: Tracks, truth: Tracks, number: int, far: float) -> _Means:
    chosen = truth.objects == number
    seen = truth.visible[1:] & chosen
    lost = np.linalg.norm(tracks.xy[1:][seen] - truth.xy[1:][seen], axis=-1)
    moved = np.linalg.norm(truth.xy[1:] - truth.xy[0], axis=-1)[seen]
    bounded = (float(np.minimum(each, far).mean()) for each in (lost, moved))
    return _Means(int(chosen.sum()), *bounded, float(np.median(moved)))


def _whole(means: list[_Means]) -> dict:
    """All objects' value, or why there is none."""
    if max(mean.motion for mean in means) <= STILL:
        return {"why_not": "Nothing moves in the picture, so that a still one would be right."}
    weights = [mean.points**0.5 for mean in means]
    error, motion = (np.average(each, weights=weights) for each in zip(*((mean.error, mean.motion) for mean in means)))
    return {"value": _value(error, motion)}


def _value(error: float, motion: float) -> float:
    return float(max(0.0, 1 - error / motion))


def _figures(part: Score, visibility: Score) -> dict:
    return {"median_error": part.median_error, "within": part.within, "occlusion_accuracy": visibility.occlusion_accuracy}
