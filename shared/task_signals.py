"""The arrays that go into a task and come out of it, by name. T, H, W are the request's; S is 1 for a picture, T for a
video; N is free. Cameras are OpenCV's, pixel i covers [i, i+1), unknown depth is not finite or not above 0.

``world`` of a task is the camera of its first frame, so E_0 is the identity.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .errors import UsageError
from .request import GenerationRequest

FREE = {"S", "N"}  # axes whose length the request does not say
MAX_POINTS = 1_000_000

# name -> (types, axes)
INPUTS: dict[str, tuple[tuple[str, ...], tuple[str | int, ...]]] = {
    "source": (("|u1",), ("S", "H", "W", 3)),  # sRGB
    "source_depth": (("<f4",), ("S", "H", "W")),  # camera z
    "source_K": (("<f8",), ("S", 3, 3)),  # pixels; without it the field of view is estimated
    "source_world_to_camera": (("<f8",), ("T", 4, 4)),  # a video's own camera, where it is known
    "world_to_camera": (("<f8",), ("T", 4, 4)),  # the path that is wanted; only E_t E_0^-1 of it counts
    "K": (("<f8",), ("T", 3, 3)),  # its intrinsics; without them the source's
    "scene_depth": (("<f8",), (1,)),  # median z of the scene that path or motion were made in
    "mask": (("|b1",), ("H", "W")),
    "object_motion": (("<f8",), ("T", 4, 4)),  # of points in the first frame's camera, M_0 = 1
    "tracks": (("<f4",), ("T", "N", 2)),  # pixels
    "track_visible": (("|b1",), ("T", "N")),
    "track_depth": (("<f4",), ("T", "N")),
    "tracking": (("|u1",), ("T", "H", "W", 3)),  # drawn already (mesh_to_video)
    "first_frame": (("|u1",), ("H", "W", 3)),
    "depth": (("<f4",), ("H", "W")),  # of the first frame
}
OUTPUTS: dict[str, tuple[tuple[str, ...], tuple[str | int, ...]]] = {
    "tracking": (("|u1",), ("T", "H", "W", 3)),
    "first_frame": (("|u1",), ("H", "W", 3)),
    "valid": (("|b1",), ("T", "H", "W")),
    "depth": (("<f4",), ("T", "H", "W")),
    "K": (("<f8",), ("T", 3, 3)),
    "world_to_camera": (("<f8",), ("T", 4, 4)),
    "candidates": (("|u1",), ("N", "H", "W", 3)),  # of a repaint, to choose from
    "tracks": (("<f4",), ("T", "N", 2)),
    "track_visible": (("|b1",), ("T", "N")),
    "track_depth": (("<f4",), ("T", "N")),
}
NEEDED = {
    "camera_control": ("source",),
    "object_manipulation": ("source",),
    "motion_transfer": ("source",),
    "mesh_to_video": ("first_frame", "depth"),
}


def check_inputs(request: GenerationRequest, inputs: Mapping[str, np.ndarray]) -> None:
    """UsageError where an input of the request's task is missing, unknown, or of another type or shape."""
    for name in NEEDED[request.task]:
        if name not in inputs:
            raise UsageError(f"The input {name} of {request.task} is missing.", "Give the picture or video that it starts from.")
    lengths: dict[str, int] = {}
    for name, array in inputs.items():
        if name not in INPUTS:
            raise UsageError(f"There is no input {name[:40]!r}.", f"Inputs are {', '.join(INPUTS)}.")
        check_array(name, array, INPUTS[name], request, lengths)
    if lengths.get("S", 1) not in (1, request.frames):
        raise UsageError(f"The source has {lengths['S']} frames, not {request.frames}.", "Give one picture, or as many frames as are made.")


def check_output(request: GenerationRequest, name: str, array: np.ndarray) -> None:
    """UsageError where a task made something else than OUTPUTS says."""
    if name not in OUTPUTS:
        raise UsageError(f"There is no signal {name[:40]!r}.", "Report this.")
    check_array(name, array, OUTPUTS[name], request, {})


def check_array(
    name: str,
    array: np.ndarray,
    form: tuple[tuple[str, ...], tuple[str | int, ...]],
    request: GenerationRequest,
    lengths: dict[str, int],
) -> None:
    """UsageError where an array is not of its form; ``lengths`` learns the free axes, which must agree."""
    types, axes = form
    known = {"T": request.frames, "H": request.height, "W": request.width, **lengths}
    if array.ndim == len(axes):
        lengths.update({axis: size for axis, size in zip(axes, array.shape) if axis in FREE and axis not in lengths})
    expected = [axis if isinstance(axis, int) else known.get(axis, axis) for axis in axes]
    fits = array.ndim == len(axes) and all(want == have or want in FREE for want, have in zip(expected, array.shape))
    if array.dtype.str not in types or not fits or lengths.get("N", 0) > MAX_POINTS:
        raise UsageError(
            f"{name} is {array.dtype.name} {list(array.shape)}, not {np.dtype(types[0]).name} [{', '.join(map(str, expected))}].",
            "Report this: whoever made the request should have made it fit.",
        )
