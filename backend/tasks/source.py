"""What is known of the picture or video that a task starts from: its depth and intrinsics, given or estimated."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from ...shared.errors import DasError, UsageError
from ...shared.request import GenerationRequest
from ..engines import Progress
from ..engines.projection_background import black_margin
from .point_cloud import known
from .progress import told

FIELD_OF_VIEW = 50.0  # degrees across, of a picture of which nothing is known


class Source(msgspec.Struct, kw_only=True):
    """frames u8 [S,H,W,3]; depth f32 [S,H,W] (camera z, inf where unknown), or None; K f64 [S,3,3] in pixels.

    ``used`` names the inputs that were taken, ``notes`` say what was chosen; both grow as a task goes on.
    """

    frames: np.ndarray
    depth: np.ndarray | None
    K: np.ndarray
    estimated: bool
    used: list[str]
    notes: list[str]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)"""
        return self.frames.shape[2], self.frames.shape[1]

    @property
    def is_video(self) -> bool:
        return len(self.frames) > 1

    @property
    def median_depth(self) -> float:
        """Of the first frame, where it is known."""
        return float(np.median(self.depth[0][known(self.depth[0])]))


def read_source(
    request: GenerationRequest,
    inputs: dict[str, np.ndarray],
    cancelled: Callable[[], bool],
    *,
    needs_depth: bool = True,
    wants_depth: bool = True,
) -> Iterator[Progress]:
    """Yields Progress, returns the Source.

    Depth is the input where there is one, else estimated, if it is wanted at all. Where a task can do without, ``needs_depth``
    False, ``auto`` means none if no model is here. UsageError where depth is nowhere known, or cannot be had.
    """
    source = Source(frames=inputs["source"], depth=None, K=np.empty(0), estimated=False, used=["source"], notes=[])
    estimated_K = None
    if "source_depth" in inputs:
        source.depth = judged(inputs["source_depth"], source)
        source.used.append("source_depth")
    elif wants_depth:
        estimated_K = yield from _estimate(request, source, cancelled, needs_depth)
    source.K = _intrinsics(inputs, source, estimated_K)
    return source


def judged(depth: np.ndarray, source: Source) -> np.ndarray:
    """A given depth f32 [S,H,W] with inf where it is unknown; what there is to say goes to the notes."""
    from ..vision.depth import judge

    found, notes = judge(depth, "the given depth")
    source.notes += [note[:1].upper() + note[1:] for note in notes]
    return found


def _estimate(request, source: Source, cancelled: Callable[[], bool], needs_depth: bool) -> Iterator[Progress]:
    """Sets the source's depth; returns the model's K [S,3,3], or None."""
    if request.depth.source in ("scene", "file"):
        raise UsageError(
            f"The depth should come from the {request.depth.source}, and none came with the picture.",
            "Give a depth file, or choose moge or depth_anything.",
        )
    try:
        found = yield from estimated_depth(request, source.frames, cancelled)
    except DasError as error:
        if needs_depth or request.depth.source != "auto" or error.kind == "cancelled":
            raise
        source.notes.append(f"Without depth, all points are taken to be equally far, and later ones cover earlier ones: {error}")
        return None
    source.depth, source.estimated = found.z, True
    source.notes += found.notes
    if request.fit == "pad":
        source.depth = np.where(black_margin(source.frames[0], source.frames), np.float32(np.inf), source.depth)
    return found.K


def estimated_depth(request: GenerationRequest, frames: np.ndarray, cancelled: Callable[[], bool]) -> Iterator[Progress]:
    """Yields Progress, returns :class:`vision.depth.Depth`."""
    from ..vision.depth import estimate_depth

    return (
        yield from told(
            "depth",
            lambda progress, stop: estimate_depth(frames, request.depth, cancelled=stop, progress=progress),
            cancelled,
        )
    )


def _intrinsics(inputs: dict[str, np.ndarray], source: Source, estimated: np.ndarray | None) -> np.ndarray:
    """K [S,3,3]: given, or the depth model's, or of the wanted path's first frame, or of a usual lens."""
    if "source_K" in inputs:
        source.used.append("source_K")
        return checked_lens(inputs["source_K"], "picture")
    count = len(source.frames)
    if estimated is not None:
        K = np.median(np.asarray(estimated, np.float64).reshape(-1, 3, 3), axis=0)
        source.notes.append(f"The lens was estimated with the depth: {_degrees(K, source.size):.0f} degrees across.")
    elif "K" in inputs:
        K = checked_lens(inputs["K"], "camera path")[0]
        source.notes.append(f"The picture's lens is taken to be the path's first: {_degrees(K, source.size):.0f} degrees across.")
    else:
        K = usual_lens(source.size)
        source.notes.append(f"The lens is unknown and taken to see {FIELD_OF_VIEW:g} degrees across.")
    return np.repeat(K[None], count, axis=0)


def checked_lens(K: np.ndarray, what: str) -> np.ndarray:
    """K f64 [T,3,3] of pinhole cameras; UsageError where one is none."""
    K = np.array(K, np.float64)
    good = np.isfinite(K).all(axis=(1, 2)) & (K[:, 0, 0] > 0) & (K[:, 1, 1] > 0) & np.isclose(K[:, 2], (0, 0, 1)).all(axis=1)
    if not good.all():
        raise UsageError(f"Frame {int(np.argmin(good)) + 1} of the {what} has no lens: {K[np.argmin(good)].tolist()}.", "Give focal lengths above 0, in pixels.")
    return K


def usual_lens(size: tuple[int, int]) -> np.ndarray:
    """K [3,3] of FIELD_OF_VIEW across, its axis in the middle."""
    width, height = size
    focal = width / 2 / math.tan(math.radians(FIELD_OF_VIEW) / 2)
    return np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1.0]])


def _degrees(K: np.ndarray, size: tuple[int, int]) -> float:
    return math.degrees(math.atan(K[0, 2] / K[0, 0]) + math.atan((size[0] - K[0, 2]) / K[0, 0]))
