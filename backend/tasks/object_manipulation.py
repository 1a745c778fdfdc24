"""Object manipulation: what a mask covers moves, the rest stays. docs/object-manipulation.md.

Points under the mask move as one body in the first frame's camera space; nearer points cover farther ones, and what the
object leaves behind is black. The camera may move too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...shared.errors import UsageError
from ...shared.request import GenerationRequest
from ..engines import Progress
from ..vision import masks
from . import Event
from .filming import cameras, film, points_in_space
from .paths import camera_path, check_moves, object_motion, stays_before_camera
from .point_cloud import project
from .source import Source, read_source


def prepare(
    request: GenerationRequest, inputs: dict[str, np.ndarray], *, cancelled: Callable[[], bool]
) -> Iterator[Event]:
    """tasks.prepare of this task. UsageError where mask or motion are missing, or the object has no depth."""
    if "mask" not in inputs and request.object.click is None:
        raise UsageError("What is to move is not said.", "Give a mask, an object of the scene, or a click on the picture.")
    if "mask" in inputs:
        masks.check_mask(inputs["mask"], "The mask")  # before depth is estimated
    check_moves(request, inputs)
    source = yield from read_source(request, inputs, cancelled)
    mask = yield from find_mask(request, inputs, source)
    cloud, own = yield from points_in_space(request, inputs, source, cancelled)
    first = cloud.positions if cloud.positions.ndim == 2 else cloud.positions[0]
    cloud.masked = under(mask, first, source.K[0])
    if not cloud.masked.any():
        raise UsageError("Nothing under the mask has a known depth.", "Mask something that has depth, or give other depth.")
    motion = object_motion(request, inputs, source, first[:, cloud.masked])
    seen_by = cameras(request, source, camera_path(request, inputs, source), own)
    stays_before_camera(seen_by[1] @ motion, first[:, cloud.masked])
    yield from film(request, inputs, source, cloud, seen_by, motion, cancelled)


def find_mask(request: GenerationRequest, inputs: dict[str, np.ndarray], source: Source) -> Iterator[Progress]:
    """Yields Progress, returns the mask bool [H,W]: given, or of what was clicked on. UsageError where it is empty."""
    if "mask" in inputs:
        source.used.append("mask")
        found = masks.check_mask(np.asarray(inputs["mask"]), "The mask", source.size)
    else:
        yield Progress("mask", 0, 1)
        found = masks.mask_from_click(source.frames[0], request.object.click)
        yield Progress("mask", 1, 1)
    source.notes += found.notes
    return found.pixels


def under(mask: np.ndarray, positions: np.ndarray, K: np.ndarray) -> np.ndarray:
    """bool [N]: first-frame positions [3,N] that a mask [H,W] covers."""
    xy, _ = project(positions, K, np.eye(4))
    column, row = np.clip(np.floor(xy).astype(np.intp), 0, (mask.shape[1] - 1, mask.shape[0] - 1)).T
    return mask[row, column]
