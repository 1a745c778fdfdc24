"""Tasks: what turns a picture, a video, a mask, a path into a tracking video and a first frame (DESIGN, "tasks/").

A worker runs one as a job of its own; the client writes what it makes into a take, and any engine generates from that.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from ...shared.request import GenerationRequest
from ..engines import Progress, Report

# task -> module with prepare(); mesh_to_video comes drawn from Blender, and only its first frame may be repainted
TABLE = {
    "camera_control": ".camera_control",
    "object_manipulation": ".object_manipulation",
    "motion_transfer": ".motion_transfer",
    "mesh_to_video": ".mesh_to_video",
}


class Signal(msgspec.Struct, frozen=True):
    """One finished array of the take; names, types and shapes are those of :mod:`shared.task_signals`."""

    name: str
    array: np.ndarray


Event = Progress | Signal | Report


def may_load_models(request: GenerationRequest, inputs: dict[str, np.ndarray]) -> bool:
    """Whether the task may need a model of its own: for depth, a mask, tracks, or the repaint."""
    needs_depth = request.task != "mesh_to_video" and not {"source_depth", "track_depth"} & inputs.keys()
    needs_tracks = request.transfer.tracker == "cotracker" and "tracks" not in inputs
    return bool(request.repaint.model) or needs_depth or needs_tracks or (request.object.click is not None and "mask" not in inputs)


def prepare(
    request: GenerationRequest, inputs: dict[str, np.ndarray], *, cancelled: Callable[[], bool]
) -> Iterator[Event]:
    """Each signal of the take once, Progress between, one Report at the end.

    ``inputs`` (:mod:`shared.task_signals`) are read-only and memory-mapped. Returns early, or raises Cancelled, once
    ``cancelled()``. UsageError where the inputs do not suffice.
    """
    yield from importlib.import_module(TABLE[request.task], __package__).prepare(request, inputs, cancelled=cancelled)
