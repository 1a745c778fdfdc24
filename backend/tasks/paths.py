"""What moves in a task: the camera's path and an object's motion, as matrices in the first frame's camera space."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from ...shared import camera_motion
from ...shared.errors import UsageError
from ...shared.request import GenerationRequest
from .point_cloud import moved
from .source import Source, checked_lens

DIRECTIONS = {"left": (-1, 0, 0), "right": (1, 0, 0), "up": (0, -1, 0), "down": (0, 1, 0), "front": (0, 0, -1), "back": (0, 0, 1)}

CAMERA, OBJECT = "camera path", "object's motion"


class CameraMove(NamedTuple):
    """relative f64 [T,4,4], P_t = E_t E_0^-1 with P_0 = 1; zoom f64 [T,3,3], what K_t is to K_0: K_t = zoom K_0."""

    relative: np.ndarray
    zoom: np.ndarray


def check_moves(request: GenerationRequest, inputs: dict[str, np.ndarray]) -> None:
    """UsageError, before anything long is begun, where a given path or motion cannot be used, or an object has none."""
    if "world_to_camera" in inputs:
        checked(inputs["world_to_camera"], request.frames, CAMERA)
        checked_lens(inputs.get("K", np.eye(3)[None]), CAMERA)
    elif request.camera.motion:
        camera_motion.parse_motion(request.camera.motion, request.frames)
    if request.task != "object_manipulation" or request.object.motion in (*DIRECTIONS, "rot"):
        return
    if "object_motion" not in inputs:
        fix = f"Choose {', '.join(DIRECTIONS)} or rot, a file of {request.frames} matrices, or an object to follow."
        raise UsageError("No motion of the object is given.", fix)
    checked(inputs["object_motion"], request.frames, OBJECT)


def camera_path(request: GenerationRequest, inputs: dict[str, np.ndarray], source: Source) -> CameraMove | None:
    """The wanted path: the given one, or the motion in words; None where neither is.

    Translations of a path made in a scene are scaled to the picture's depth.
    """
    if "world_to_camera" in inputs:
        poses = checked(inputs["world_to_camera"], request.frames, CAMERA)
        relative = scaled(poses @ np.linalg.inv(poses[0]), inputs, source, CAMERA)
        source.used += [name for name in ("world_to_camera", "K") if name in inputs]
        return CameraMove(relative, zoom(inputs["K"]) if "K" in inputs else identities(request.frames, 3))
    if request.camera.motion:
        relative = camera_motion.motion(request.camera.motion, request.frames, request.camera.order)
        return CameraMove(scaled(relative, inputs, source, CAMERA), identities(request.frames, 3))
    return None


def zoom(K: np.ndarray) -> np.ndarray:
    """K_t K_0^-1 for K f64 [T,3,3]: how a lens changes, whatever it was at first."""
    K = checked_lens(K, CAMERA)
    return K @ np.linalg.inv(K[0])


def object_motion(request: GenerationRequest, inputs: dict[str, np.ndarray], source: Source, positions: np.ndarray) -> np.ndarray:
    """M_t f64 [T,4,4] of the object with first-frame ``positions`` [3,N].

    A word moves it by ``distance`` pixels on screen at the median depth of its points, or turns it by degrees about its
    centroid; "path" and "follow" are the given matrices.
    """
    settings = request.object
    done = np.linspace(0, 1, request.frames)
    if settings.motion == "rot":
        return turned(np.radians(settings.distance) * done, positions.mean(axis=1))
    if settings.motion in DIRECTIONS:
        length = settings.distance * float(np.median(positions[2])) / source.K[0, 0, 0]
        motion = identities(request.frames)
        motion[:, :3, 3] = done[:, None] * length * np.array(DIRECTIONS[settings.motion])
        return motion
    source.used.append("object_motion")
    motion = checked(inputs["object_motion"], request.frames, OBJECT)
    if not np.allclose(motion[0], np.eye(4), atol=1e-6):
        source.notes.append("The object's motion does not begin with the identity, and is taken relative to its first frame.")
        motion = motion @ np.linalg.inv(motion[0])
    return scaled(motion, inputs, source, OBJECT)


def turned(angles: np.ndarray, pivot: np.ndarray) -> np.ndarray:
    """Rotations [T,4,4] by ``angles`` (radians) about the vertical axis y through a pivot [3]; a positive angle turns the side
    that faces the camera to the left."""
    motion = identities(len(angles))
    cosine, sine = np.cos(angles), np.sin(angles)
    motion[:, 0, 0] = motion[:, 2, 2] = cosine
    motion[:, 0, 2], motion[:, 2, 0] = sine, -sine
    motion[:, :3, 3] = pivot - motion[:, :3, :3] @ pivot
    return motion


def stays_before_camera(motion: np.ndarray, positions: np.ndarray) -> None:
    """UsageError where an object's points [3,N] come to lie behind the camera altogether."""
    for frame, matrix in enumerate(motion):
        if (moved(positions, matrix)[2] <= 0).all():
            raise UsageError(
                f"The motion takes the object behind the camera in frame {frame + 1}.", "Choose a shorter distance, or another direction."
            )


def scaled(matrices: np.ndarray, inputs: dict[str, np.ndarray], source: Source, what: str) -> np.ndarray:
    """Matrices [T,4,4] with translations in the unit of the source's depth, and a note of what that means."""
    if "scene_depth" not in inputs:
        if source.estimated and np.abs(matrices[:, :3, 3]).max() > 0:
            source.notes.append(
                f"Lengths of the {what} are in the unit of the estimated depth, whose median is {source.median_depth:.3g} in the first frame."
            )
        return matrices
    scene = float(inputs["scene_depth"][0])
    if not (math.isfinite(scene) and scene > 0):
        raise UsageError(f"A median depth of {scene:g} in the scene cannot be scaled to.", "Give the depth that the camera sees, above 0.")
    factor = source.median_depth / scene
    source.used.append("scene_depth")
    source.notes.append(
        f"Lengths of the {what} are scaled by {factor:.4g}, from the scene's median depth {scene:.4g} to the picture's {source.median_depth:.4g}."
    )
    result = matrices.copy()
    result[:, :3, 3] *= factor
    return result


def checked(matrices: np.ndarray, frames: int, what: str) -> np.ndarray:
    """Matrices f64 [T,4,4] that can be inverted; UsageError where there are not ``frames`` of them, or one is none."""
    if len(matrices) != frames:
        raise UsageError(f"The {what} has {len(matrices)} frames, and the video {frames}.", "Sample it at the video's frames.")
    matrices = np.array(matrices, np.float64)
    good = np.isfinite(matrices).all(axis=(1, 2)) & np.isclose(matrices[:, 3], (0, 0, 0, 1)).all(axis=1)
    good[good] = np.abs(np.linalg.det(matrices[good, :3, :3])) > 1e-9
    if not good.all():
        fix = "Give matrices [4,4] of finite numbers with 0 0 0 1 below."
        raise UsageError(f"Frame {int(np.argmin(good)) + 1} of the {what} is no movement in space.", fix)
    return matrices


def identities(count: int, size: int = 4) -> np.ndarray:
    return np.tile(np.eye(size), (count, 1, 1))

