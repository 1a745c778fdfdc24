"""The camera's path that a request asks for by motion or file, as inputs of its task (:mod:`task_signals`)."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from .camera_files import read_path
from .camera_motion import motion
from .errors import UsageError
from .request import GenerationRequest


def wanted_path(request: GenerationRequest) -> dict[str, np.ndarray]:
    """``world_to_camera``, and ``K`` where a file says it; empty where the request names no path.

    UsageError where the motion or the file cannot be read, or the file has another number of frames.
    """
    camera = request.camera
    if camera.motion:
        return {"world_to_camera": motion(camera.motion, request.frames, camera.order)}
    if not camera.path:
        return {}
    path = read_path(Path(camera.path), size=(request.width, request.height))
    if len(path.frames) != request.frames:
        raise UsageError(
            f"{camera.path} has {len(path.frames)} frames, the video has {request.frames}.",
            f"Make {len(path.frames)} frames, or give a path of {request.frames}.",
        )
    return {"world_to_camera": path.world_to_camera, "K": path.K}
