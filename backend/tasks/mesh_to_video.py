"""Mesh to video: the tracking video comes drawn from Blender; here only the first frame is painted anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...shared.errors import UsageError
from ...shared.request import GenerationRequest
from ..engines import Report
from . import Event, Signal
from .take import repainted


def prepare(
    request: GenerationRequest, inputs: dict[str, np.ndarray], *, cancelled: Callable[[], bool]
) -> Iterator[Event]:
    """tasks.prepare of this task. UsageError where no repaint is asked for."""
    if not request.repaint.model:
        message = "There is nothing to prepare: the tracking video is drawn, and no repaint is asked for."
        raise UsageError(message, "Choose a repaint model, flux or sdxl.")
    notes, versions = [], {}
    chosen = yield from repainted(request, np.asarray(inputs["first_frame"]), np.asarray(inputs["depth"]), notes, versions, cancelled)
    yield Signal("first_frame", chosen)
    yield Report(["first_frame", "depth"], notes, versions)
