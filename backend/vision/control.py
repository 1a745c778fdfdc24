"""The control score of a result: its first frame's points are tracked again and compared with the truth (docs/best-of-n.md)."""

from __future__ import annotations

from collections.abc import Callable

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

    A point counts until it is truly hidden for the first time. For each object the mean error of its points is set against
    their mean motion, both counted up to FAR, and so many points count as their square root: neither a ground that fills the
    picture nor a still one drowns what moves.
    """
    if truth.objects is None:
        truth = msgspec.structs.replace(truth, objects=np.ones(truth.xy.shape[1], np.uint16))
    known = msgspec.structs.replace(truth, visible=np.logical_and.accumulate(truth.visible, axis=0))
    figures, visibility = score(tracks, known), score(tracks, truth)
    objects, weights, errors, motions = [], [], [], []
    for number, part in figures.per_object.items():
        chosen = truth.objects == number
        seen = known.visible[1:] & chosen
        if seen.any():
            error, motion = _mean_distances(tracks, truth, seen, FAR * width)
            measured = _figures(part, visibility.per_object[number]) | {"motion": _motion(truth, seen), "value": _value(error, motion)}
            objects.append(ObjectScore(number=number, points=int(chosen.sum()), **measured))
            weights.append(chosen.sum() ** 0.5)
            errors.append(error)
            motions.append(motion)
    if not objects:
        return ControlScore(points=truth.xy.shape[1], tracker=TRACKER, why_not="None of its points is seen again.")
    value = _value(np.average(errors, weights=weights), np.average(motions, weights=weights))
    return ControlScore(
        value=value,
        why_not="" if value is not None else "Nothing moves in the picture, so that a still one would be right.",
        points=truth.xy.shape[1],
        tracker=TRACKER,
        objects=objects,
        **_figures(figures, visibility),
    )


def _mean_distances(tracks: Tracks, truth: Tracks, seen: np.ndarray, far: float) -> tuple[float, float]:
    """Of the points and frames ``seen`` bool [T-1,N]: to where they truly are, and truly from the first frame; pixels."""
    lost = np.linalg.norm(tracks.xy[1:][seen] - truth.xy[1:][seen], axis=-1)
    return float(np.minimum(np.nan_to_num(lost, nan=far, posinf=far), far).mean()), float(np.minimum(_moved(truth, seen), far).mean())


def _moved(truth: Tracks, seen: np.ndarray) -> np.ndarray:
    return np.linalg.norm(truth.xy[1:] - truth.xy[0], axis=-1)[seen]


def _motion(truth: Tracks, seen: np.ndarray) -> float:
    return float(np.median(_moved(truth, seen)))


def _value(error: float, motion: float) -> float | None:
    return float(max(0.0, 1 - error / motion)) if motion > STILL else None


def _figures(part: Score, visibility: Score) -> dict:
    return {"median_error": part.median_error, "within": part.within, "occlusion_accuracy": visibility.occlusion_accuracy}
