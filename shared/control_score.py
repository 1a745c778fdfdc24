"""How well a result keeps to the motion that was asked for: points of the first frame are tracked in it again and compared
with where they truly are (docs/best-of-n.md). The score's numbers, and what of a take it is made from.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from .errors import UsageError
from .request import GenerationRequest
from .task_signals import check_array

SCORED: dict[str, tuple[tuple[str, ...], tuple[str | int, ...]]] = {
    "frames": (("|u1",), ("T", "H", "W", 3)),  # the results, sRGB
    "tracks": (("<f4",), ("T", "N", 2)),  # the truth, in pixels
    "track_visible": (("|b1",), ("T", "N")),
    "objects": (("<u2",), ("N",)),  # which object each point belongs to
}


class ObjectScore(msgspec.Struct, kw_only=True, frozen=True):
    """One object's points, over all frames after the first in which they are truly visible.

    ``value`` is 1 where they are where they should be, 0 where standing still would be no worse; None where the object
    stands still. ``median_error`` and ``motion``, the median distance from the first frame, are in pixels. ``within`` is the share
    that lies within so many pixels, ``occlusion_accuracy`` that of points and frames whose visibility is right.
    """

    number: int
    name: str = ""
    points: int
    value: float | None
    median_error: float
    motion: float
    within: dict[int, float]
    occlusion_accuracy: float


class ControlScore(msgspec.Struct, kw_only=True, frozen=True):
    """A result's score: ``value`` from 0 to 1, or None and ``why_not``. ``rank`` 1 is the best ``of`` several seeds."""

    value: float | None = None
    why_not: str = ""
    points: int = 0
    median_error: float | None = None
    within: dict[int, float] = {}
    occlusion_accuracy: float | None = None
    tracker: str = ""
    objects: list[ObjectScore] = []
    rank: int = 0
    of: int = 0

    @property
    def sentence(self) -> str:
        """For people, in one line."""
        if self.value is None:
            return f"not scored: {self.why_not}"
        best = f", {self.rank} of {self.of}" if self.of else ""
        return f"control score {self.value:.3f}{best}"


def check_scored(request: GenerationRequest, arrays: Mapping[str, np.ndarray]) -> None:
    """UsageError where what a score is made from is missing, unknown, or of another type or shape."""
    if odd := arrays.keys() ^ SCORED.keys():
        raise UsageError(f"A score needs {', '.join(SCORED)}, and {', '.join(sorted(odd))[:80]} is missing or unknown.", "Report this.")
    lengths: dict[str, int] = {}
    for name, array in arrays.items():
        check_array(name, array, SCORED[name], request, lengths)


def with_names(score: ControlScore, names: Mapping[int, str]) -> ControlScore:
    """The same with its objects' names, by their numbers."""
    objects = [msgspec.structs.replace(part, name=names.get(part.number, part.name)) for part in score.objects]
    return msgspec.structs.replace(score, objects=objects)
