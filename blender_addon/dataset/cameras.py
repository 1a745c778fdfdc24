"""A camera of its own for each clip: the scene's, or one that frames what moves, seen from elsewhere and on a path.

E'_t = P_t Q E_t W_t: Q brings the camera higher or lower and nearer or farther, W_t turns the world about the vertical through
what is looked at, which leaves the horizon level, and P_t is a move of :mod:`shared.camera_motion`. A view that something
stands in is not taken.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import bpy
import msgspec
import numpy as np
from mathutils import Matrix, Vector

from ...shared.camera_motion import motion
from ...shared.errors import SceneError
from ...shared.request import GenerationRequest
from ..camera_import import add_moved_camera
from ..camera_path import looked_at, read_cameras
from .subject import Subject

TRIES = 16
NEAREST_OBSTACLE = 0.6  # of the way to what is looked at
ANY_AZIMUTH, NEAR_AZIMUTH, ELEVATION = 180.0, 40.0, 10.0  # degrees
LOWEST, HIGHEST = 2.0, 40.0  # degrees above the ground of a new camera
LENSES = (28.0, 60.0)  # millimetres of a new camera


class Move(NamedTuple):
    """``text`` is a motion whose lengths are shares of the distance and whose angles degrees, both drawn from ``least`` to
    ``most`` either way; about the camera itself, about the point ``ahead`` that it looks at, or about the ``vertical`` there."""

    name: str
    text: str
    least: float
    most: float
    about: Literal["camera", "ahead", "vertical"] = "camera"


MOVES = (
    Move("still", "trans 0 0 0", 0, 0),
    Move("orbit", "rot z {}", 8, 45, "vertical"),
    Move("arc", "rot x {}", 3, 12, "ahead"),
    Move("dolly", "trans 0 0 {}", 0.08, 0.3),
    Move("truck", "trans {} 0 0", 0.05, 0.2),
    Move("pedestal", "trans 0 {} 0", 0.03, 0.12),
    Move("pan", "rot y {}", 2, 8),
    Move("tilt", "rot x {}", 1, 5),
    Move("spiral", "spiral {}", 0.5, 1.5),
)
WORDS = {
    "still": "the camera is still", "orbit": "the camera goes round", "arc": "the camera rises and sinks", "dolly": "the camera moves along its view",
    "truck": "the camera moves sideways", "pedestal": "the camera moves up or down", "pan": "the camera pans", "tilt": "the camera tilts",
    "spiral": "the camera spirals",
}  # fmt: skip


class View(NamedTuple):
    """A camera's change, as world-to-camera matrices f64 [T,4,4] before and after its own."""

    camera: np.ndarray  # P_t Q
    world: np.ndarray  # W_t
    said: dict[str, str | float]


def vary_camera(scene: bpy.types.Scene, request: GenerationRequest, subject: Subject, random: np.random.Generator) -> dict[str, str | float]:
    """Give the scene a new camera for the request's frames; how it was drawn, for the record."""
    spread = NEAR_AZIMUTH
    if scene.camera is None:
        _add_camera(scene, request, subject, random)
        spread = ANY_AZIMUTH
    track = read_cameras(scene, request)
    if len(set(track.names)) > 1:
        raise SceneError(f"The camera changes from {track.names[0]} to {track.names[-1]} within the clip.", "Give a range without a cut with --frames A:B.")
    scene.frame_set(math.floor(request.start))
    distance = _distance(scene, subject)
    centre = np.linalg.inv(track.world_to_camera[0]) @ (0, 0, distance, 1)
    for attempt in range(TRIES + 1):
        calm = 1 - attempt / TRIES  # the last one is the camera as it stands
        view = _draw_view(request, distance, centre, spread * calm, calm, random)
        poses = view.camera @ track.world_to_camera @ view.world
        if not calm or _is_free(scene, request, poses, distance):
            break
    cameras = [msgspec.structs.replace(camera, world_to_camera=pose) for camera, pose in zip(track.cameras, poses)]
    add_moved_camera(scene, msgspec.structs.replace(track, cameras=cameras))
    return view.said


def _draw_view(
    request: GenerationRequest, distance: float, centre: np.ndarray, azimuth: float, calm: float, random: np.random.Generator
) -> View:
    """A view, the calmer the fewer are left to try: with 0 the camera stands still where it is."""
    turn, rise = random.uniform(-azimuth, azimuth), random.uniform(-ELEVATION, ELEVATION) * calm
    farther = distance * random.uniform(-0.15, 0.15) * calm
    chosen = MOVES[random.integers(len(MOVES))] if calm else MOVES[0]
    amount = random.uniform(chosen.least, chosen.most) * (1 if chosen.name == "spiral" else random.choice([-1, 1]))
    text = chosen.text.format(f"{amount if chosen.text.startswith('rot') else amount * distance:.6g}")
    moves = motion(text, request.frames)
    if chosen.about == "ahead":
        moves = _about(np.array([0, 0, distance + farther]), moves)
    world = _about(centre[:3], motion(f"rot z {turn}", 2)[-1])
    if chosen.about == "vertical":
        moves, world = np.eye(4), _about(centre[:3], moves) @ world
    placed = motion(f"trans 0 0 {farther}", 2)[-1] @ _about(np.array([0, 0, distance]), motion(f"rot x {rise}", 2)[-1])
    said = {"camera": chosen.name, "motion": text, "turned": round(turn, 3), "risen": round(rise, 3), "farther": round(farther, 6)}
    return View(moves @ placed, world, said)


def _about(point: np.ndarray, turns: np.ndarray) -> np.ndarray:
    """Moves [...,4,4] about a point instead of the origin."""
    there, back = np.eye(4), np.eye(4)
    there[:3, 3], back[:3, 3] = point, -point
    return there @ turns @ back


def _distance(scene: bpy.types.Scene, subject: Subject) -> float:
    """How far ahead of the camera lies what the clip is about, or else what is in the middle of its view."""
    camera = scene.camera.matrix_world
    offset = camera.inverted_safe() @ subject.centre
    if -offset.z > 0 and math.hypot(offset.x, offset.y) < -offset.z:
        return -offset.z
    return looked_at(scene, bpy.context.evaluated_depsgraph_get()) or max(subject.radius * 3, 1e-3)


def _is_free(scene: bpy.types.Scene, request: GenerationRequest, poses: np.ndarray, distance: float) -> bool:
    """Whether nothing stands before the camera, nor the camera in or below something, at the clip's ends and in its middle."""
    for index in (0, len(poses) // 2, len(poses) - 1):
        scene.frame_set(math.floor(request.start + (request.end - request.start) * index / (len(poses) - 1)))
        to_world = np.linalg.inv(poses[index])
        origin, ahead = Vector(to_world[:3, 3]), Vector(to_world[:3, 2])
        depsgraph = bpy.context.evaluated_depsgraph_get()
        hit, place, normal, *_ = scene.ray_cast(depsgraph, origin, ahead)
        if hit and ((place - origin).length < NEAREST_OBSTACLE * distance or normal.dot(ahead) > 0):
            return False
    return True


def _add_camera(scene: bpy.types.Scene, request: GenerationRequest, subject: Subject, random: np.random.Generator) -> None:
    """A camera that has the subject in view, from the front of the world (-y)."""
    data = bpy.data.cameras.new("Clip camera")
    data.lens = random.uniform(*LENSES)
    data.sensor_fit = "HORIZONTAL"
    narrow = min(1.0, request.height / request.width)
    half_angle = math.atan(data.sensor_width / 2 / data.lens * narrow)
    distance = subject.radius / math.sin(half_angle) * random.uniform(0.9, 1.4)
    rise = math.radians(random.uniform(LOWEST, HIGHEST))
    place = subject.centre + Vector((0, -math.cos(rise), math.sin(rise))) * distance
    camera = bpy.data.objects.new("Clip camera", data)
    camera.matrix_world = Matrix.Translation(place) @ (subject.centre - place).to_track_quat("-Z", "Y").to_matrix().to_4x4()
    data.clip_start, data.clip_end = min(0.1, distance / 100), max(1000.0, distance * 100)
    scene.collection.objects.link(camera)
    scene.camera = camera
    bpy.context.view_layer.update()


