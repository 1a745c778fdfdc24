"""What every task ends with: the points drawn as a tracking video, the first frame, and the arrays of the take."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...shared.request import GenerationRequest
from ..engines import Progress, Report
from . import Event, Signal
from .point_raster import draw_points
from .progress import stop_if
from .source import Source, estimated_depth

OWN_PIXEL = 0.05  # neighbours on a surface that is not seen from its edge differ by less in depth
Seen = tuple[np.ndarray, np.ndarray, np.ndarray]  # pixels [N,2], camera z [N], colours [N,3]


def draw_video(
    request: GenerationRequest, seen: Callable[[int], Seen], square: tuple[int, int], cancelled: Callable[[], bool]
) -> Iterator[Progress]:
    """Yields Progress, returns the signals tracking, valid and depth by name. ``seen`` gives the points of a frame."""
    shape = (request.frames, request.height, request.width)
    tracking, valid, depth = np.empty((*shape, 3), np.uint8), np.empty(shape, bool), np.empty(shape, np.float32)
    for frame in range(request.frames):
        stop_if(cancelled)
        tracking[frame], valid[frame], depth[frame] = draw_points(*seen(frame), shape[:0:-1], square, own=OWN_PIXEL)
        yield Progress("draw", frame + 1, request.frames)
    return {"tracking": tracking, "valid": valid, "depth": depth}


def nothing_seen(valid: np.ndarray) -> list[str]:
    """A note where frames show no point at all."""
    empty = np.flatnonzero(~valid.any(axis=(1, 2)))
    return [f"{len(empty)} of {len(valid)} frames show no point, the first of them frame {empty[0] + 1}."] if len(empty) else []


def hand_over(
    request: GenerationRequest,
    inputs: dict[str, np.ndarray],
    source: Source,
    signals: dict[str, np.ndarray],
    cancelled: Callable[[], bool],
) -> Iterator[Event]:
    """The signals, then the first frame - the one that the user brings, else the source's - and the Report.

    With a repaint the candidates too, and the chosen one as first frame.
    """
    source.notes += nothing_seen(signals["valid"])
    for name, array in signals.items():
        yield Signal(name, array)
    if "first_frame" in inputs:
        source.used.append("first_frame")
    first_frame = np.asarray(inputs.get("first_frame", source.frames[0]))
    versions: dict[str, str] = {}
    if request.repaint.model:
        depth = yield from first_depth(request, inputs, source, cancelled)
        first_frame = yield from repainted(request, first_frame, depth, source.notes, versions, cancelled)
    yield Signal("first_frame", first_frame)
    yield Report(source.used, source.notes, versions)


def first_depth(
    request: GenerationRequest, inputs: dict[str, np.ndarray], source: Source, cancelled: Callable[[], bool]
) -> Iterator[Progress]:
    """Yields Progress, returns the dense depth f32 [H,W] of the first frame, which a repaint follows."""
    if "depth" in inputs:
        source.used.append("depth")
        return np.asarray(inputs["depth"])
    if source.depth is not None:
        return source.depth[0]
    return (yield from estimated_depth(request, source.frames[:1], cancelled)).z[0]


def repainted(
    request: GenerationRequest,
    first_frame: np.ndarray,
    depth: np.ndarray,
    notes: list[str],
    versions: dict[str, str],
    cancelled: Callable[[], bool],
) -> Iterator[Event]:
    """Yields Progress and the candidates, returns the chosen one; ``notes`` and ``versions`` are added to."""
    from ..vision.repaint import repaint

    candidates = []
    for event in repaint(first_frame, depth, request, cancelled=cancelled):
        if isinstance(event, Progress):
            yield event
        elif isinstance(event, Report):
            notes += event.notes
            versions.update(event.versions)
        else:
            candidates.append(event.pixels)
            notes.append(event.note)
    yield Signal("candidates", np.stack(candidates))
    return candidates[request.repaint.choice - 1]
