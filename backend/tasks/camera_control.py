"""Camera control: a picture or a video, seen by a camera that moves as the user wants. docs/camera-control.md.

A picture's pixels become points by their depth and stay where they are. A video's tracked points are lifted into space
frame by frame, by its own camera, which is known or estimated; the wanted path is appended to it, or replaces it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...shared.errors import UsageError
from ...shared.request import GenerationRequest
from . import Event
from .filming import cameras, film, points_in_space
from .paths import camera_path, check_moves
from .source import read_source


def prepare(
    request: GenerationRequest, inputs: dict[str, np.ndarray], *, cancelled: Callable[[], bool]
) -> Iterator[Event]:
    """tasks.prepare of this task. UsageError where no path is given."""
    if "world_to_camera" not in inputs and not request.camera.motion:
        raise UsageError("No camera path is given.", "Give a motion such as 'trans 0 0 -1; rot y 15', or a path file.")
    check_moves(request, inputs)
    source = yield from read_source(request, inputs, cancelled)
    path = camera_path(request, inputs, source)
    cloud, own = yield from points_in_space(request, inputs, source, cancelled)
    yield from film(request, inputs, source, cloud, cameras(request, source, path, own), None, cancelled)
