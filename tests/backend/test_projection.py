"""Projection against exact truth: textured shapes under a moving camera, drawn by the reference rasteriser."""

import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from diffusion_as_shader.backend.engines import Frame, Progress, Report
from diffusion_as_shader.backend.engines.projection import ProjectionEngine
from diffusion_as_shader.shared import psnr, tracking
from diffusion_as_shader.shared.camera import Camera, Intrinsics
from diffusion_as_shader.shared.errors import Cancelled
from diffusion_as_shader.shared.rasterize import rasterize
from diffusion_as_shader.shared.request import GenerationRequest

WIDTH, HEIGHT, FRAMES = 240, 160, 9
SAMPLES = 3  # per pixel and axis, in the true renders
FLOOR, BALL, CARD = 1, 2, 3


class Scene(msgspec.Struct):
    """Signals as an engine gets them, true renders u8 [T,H,W,3] (every fourth frame) and what each pixel could know."""

    signals: dict[str, np.ndarray]
    truth: dict[int, np.ndarray]
    visible: dict[int, np.ndarray]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="module")
def results(scene) -> dict[int, np.ndarray]:
    return project(scene.signals)


def make_scene() -> Scene:
    cameras = [camera_at(index / (FRAMES - 1)) for index in range(FRAMES)]
    drawn = [draw(index / (FRAMES - 1), camera) for index, camera in enumerate(cameras)]
    rest, objects, depth = (np.stack(parts) for parts in zip(*drawn))
    valid = objects > 0
    scale = tracking.depth_scale(rest[0][valid[0]], cameras[0])
    truth = {index: render(index / (FRAMES - 1), cameras[index]) for index in (0, 4, 8)}
    signals = {
        "tracking": np.stack([tracking.tracking_frame(r, v, cameras[0], scale) for r, v in zip(rest, valid)]),
        "first_frame": truth[0],
        "valid": valid,
        "rest": rest,
        "object": objects,
        "depth": depth,
        "K": np.stack([camera.intrinsics.matrix for camera in cameras]),
        "world_to_camera": np.stack([camera.world_to_camera for camera in cameras]),
    }
    visible = {
        index: psnr.visible_in_first_frame(rest[index], valid[index], depth[0], cameras[index], cameras[0]) for index in truth
    }
    return Scene(signals, truth, visible)


def camera_at(time: float, width: int = WIDTH, height: int = HEIGHT) -> Camera:
    """Moves to the right and turns to the left; looks slightly down."""
    turn, tilt = np.radians(8 * time), np.radians(12)
    sideways = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    downwards = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    pose = np.eye(4)
    pose[:3, :3] = downwards @ sideways
    pose[:3, 3] = -pose[:3, :3] @ [0.6 * time, -1.2, 0.3 * time]
    return Camera(Intrinsics(width, height, width * 1.1, width * 1.1, width / 2, height / 2), pose, near=0.05)


def draw(time: float, camera: Camera):
    """rest f32 [H,W,3], object u16, depth f32 of floor, a rising turning ball, and a card that moves aside."""
    parts = [floor(), ball(), card()]
    moved = [parts[0][0], roll(parts[1][0], time), parts[2][0] + [1.1 * time, 0, 0]]
    offsets = np.cumsum([0, *(len(points) for points, _ in parts)])
    triangles = np.concatenate([faces + offset for (_, faces), offset in zip(parts, offsets)])
    owner = np.repeat([FLOOR, BALL, CARD], [len(faces) for _, faces in parts])
    raster = rasterize(np.concatenate(moved), triangles, np.concatenate([points for points, _ in parts]), camera)
    objects = np.where(raster.triangle >= 0, owner[raster.triangle], 0).astype(np.uint16)
    return raster.attributes, objects, raster.depth


def floor():
    corners = np.array([[-6, 0, 1.0], [6, 0, 1.0], [6, 0, 12], [-6, 0, 12]])
    return corners, np.array([[0, 1, 2], [0, 2, 3]])


def card():
    corners = np.array([[-1.0, -1.4, 3.2], [0.2, -1.4, 3.2], [0.2, -0.1, 3.2], [-1.0, -0.1, 3.2]])
    return corners, np.array([[0, 1, 2], [0, 2, 3]])


def ball(rings: int = 24, sides: int = 32):
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.arange(sides) * 2 * np.pi / sides, indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=-1)
    first = np.arange(rings - 1)[:, None] * sides + np.arange(sides)
    second = np.arange(rings - 1)[:, None] * sides + (np.arange(sides) + 1) % sides
    faces = np.concatenate([np.stack([first, second, second + sides], -1), np.stack([first, second + sides, first + sides], -1)])
    return points.reshape(-1, 3) * 0.6 + [0.75, -0.7, 4.2], faces.reshape(-1, 3)


def roll(points: np.ndarray, time: float) -> np.ndarray:
    centre, angle = np.array([0.75, -0.7, 4.2]), np.radians(50 * time)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return (points - centre) @ turn.T + centre + [0.2 * time, -0.3 * time, 0]


def render(time: float, camera: Camera) -> np.ndarray:
    """The true picture u8 [H,W,3], anti-aliased: each surface's paint depends on its first-frame position only."""
    fine = camera_at(time, WIDTH * SAMPLES, HEIGHT * SAMPLES)
    rest, objects, _ = draw(time, fine)
    rows, columns = np.indices(objects.shape)
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones(objects.shape)], -1) @ np.linalg.inv(fine.intrinsics.matrix).T
    sky = rays @ fine.world_to_camera[:3, :3]
    place = np.where(objects[..., None] > 0, rest, 3 * sky / np.linalg.norm(sky, axis=-1, keepdims=True))
    paint = 0.5 + 0.25 * np.sin(place @ PATTERN + PHASES[objects]) + SHADES[objects]
    return np.rint(255 * paint.clip(0, 1)).reshape(HEIGHT, SAMPLES, WIDTH, SAMPLES, 3).mean(axis=(1, 3)).round().astype(np.uint8)


PATTERN = np.array([[7.0, 2.0, -3.0], [3.0, -6.0, 5.0], [2.0, 3.0, 6.0]])
PHASES = np.array([[0.0, 0, 0], [1, 2, 3], [2, 4, 1], [5, 1, 4]])
SHADES = np.array([[-0.2, 0.0, 0.25], [0.0, 0.1, -0.2], [0.25, -0.2, -0.2], [0.1, 0.2, 0.2]])


def project(signals) -> dict[int, np.ndarray]:
    events = list(ProjectionEngine().generate(GenerationRequest(), signals, cancelled=lambda: False))
    return {event.index: event.pixels for event in events if isinstance(event, Frame)}


def only(signals, *names) -> dict[str, np.ndarray]:
    return {name: signals[name] for name in ("tracking", "first_frame", *names)}


def score(scene: Scene, results, visible: bool) -> float:
    chosen = [(results[i], scene.truth[i], scene.visible[i] == visible) for i in (4, 8)]
    errors, counts = zip(*(psnr.squared_error(*each) for each in chosen))
    return psnr.psnr_of_error(sum(errors), sum(counts))
