"""What a submitted job must be, before anything of it is written."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np

from ..shared.control_score import check_scored
from ..shared.errors import UsageError
from ..shared.messages import EngineInfo, Submit
from ..shared.request import GenerationRequest, check
from ..shared.task_signals import check_inputs

MAX_REQUEST_BYTES = 64 << 10
OBLIGATORY = ("tracking", "first_frame")
# DESIGN's table: name -> (dtypes, shape of a request's T, H, W)
Shape = Callable[[int, int, int], tuple[int, ...]]
SIGNALS: dict[str, tuple[tuple[str, ...], Shape]] = {
    "tracking": (("|u1",), lambda t, h, w: (t, h, w, 3)),
    "first_frame": (("|u1",), lambda t, h, w: (h, w, 3)),
    "valid": (("|b1",), lambda t, h, w: (t, h, w)),
    "rest": (("<f2", "<f4"), lambda t, h, w: (t, h, w, 3)),
    "object": (("<u2",), lambda t, h, w: (t, h, w)),
    "depth": (("<f4",), lambda t, h, w: (t, h, w)),
    "K": (("<f8",), lambda t, h, w: (t, 3, 3)),
    "world_to_camera": (("<f8",), lambda t, h, w: (t, 4, 4)),
}


def check_submit(submit: Submit, infos: list[EngineInfo]) -> None:
    """UsageError where the request, its engine or its signals cannot be."""
    check(submit.request)
    _check_kept(submit.request)
    if submit.work == "prepare":
        check_inputs(submit.request, submit.signals)
        return
    if submit.work == "score":
        check_scored(submit.request, submit.signals)
        return
    _check_engine(submit.request, infos)
    for name in OBLIGATORY:
        if name not in submit.signals:
            raise UsageError(f"The signal {name} is missing.", "Capture the take again with das track.")
    for name, array in submit.signals.items():
        _check_signal(name, array, submit.request)


def _check_kept(request: GenerationRequest) -> None:
    """The queue keeps a request as JSON, in which a number that is none would not come back."""
    kept = msgspec.json.encode(request)
    if len(kept) > MAX_REQUEST_BYTES:
        raise UsageError(f"The request's texts are longer than {MAX_REQUEST_BYTES >> 10} KB.", "Shorten its prompts and paths.")
    try:
        msgspec.json.decode(kept, type=GenerationRequest)
    except msgspec.ValidationError:
        raise UsageError("A number of the request is not finite.", "Give plain numbers.") from None


def _check_engine(request: GenerationRequest, infos: list[EngineInfo]) -> None:
    engine = next((entry for entry in infos if entry.name == request.engine), None)
    if engine is None:
        names = ", ".join(entry.name for entry in infos if entry.available) or "none"
        raise UsageError(f"The backend has no engine {request.engine}.", f"Choose another with --engine: {names}.")
    match engine.unfit(request):
        case "unavailable":
            raise UsageError(f"The engine {engine.name} cannot be used: {engine.reason}", engine.fix)
        case "frames":
            counts = ", ".join(map(str, engine.frames))
            raise UsageError(f"The engine {engine.name} makes {counts} frames, not {request.frames}.", "Change the frame count.")
        case "size":
            sizes = ", ".join(f"{width}x{height}" for width, height in engine.sizes)
            raise UsageError(f"The engine {engine.name} makes {sizes}, not {request.width}x{request.height}.", "Change the size.")


def _check_signal(name: str, array: np.ndarray, request: GenerationRequest) -> None:
    if name not in SIGNALS:
        raise UsageError(f"There is no signal {name[:40]!r}.", f"Signals are {', '.join(SIGNALS)}.")
    dtypes, shape = SIGNALS[name]
    expected = shape(request.frames, request.height, request.width)
    if array.dtype.str not in dtypes or array.shape != expected:
        raise UsageError(
            f"The signal {name} is {array.dtype.name} {list(array.shape)}, not {np.dtype(dtypes[0]).name} {list(expected)}.",
            "Capture the take again with das track.",
        )
