"""The pictures of docs/camera-control.md and docs/object-manipulation.md:
python docs/images/task_figures.py TAKE, in the backend's environment.

TAKE is one of das demo --count 9, of which only the first frame with its depth, objects and camera is used.
"""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import imageio.v3 as imageio
import numpy as np

from diffusion_as_shader.backend import tasks
from diffusion_as_shader.backend.engines.projection import ProjectionEngine
from diffusion_as_shader.shared.camera import read_camera_path
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.task_settings import CameraControl, ObjectManipulation

FRAMES, SIZE, TILE = 9, (720, 480), (360, 240)
BALL, WALKER = (112, 384), (209, 228)  # a pixel of each


def prepared(task: str, inputs: dict[str, np.ndarray], **settings) -> dict[str, np.ndarray]:
    request = GenerationRequest(task=task, frames=FRAMES, width=SIZE[0], height=SIZE[1], **settings)
    events = tasks.prepare(request, inputs, cancelled=lambda: False)
    return {event.name: event.array for event in events if isinstance(event, tasks.Signal)}


def projected(made: dict[str, np.ndarray]) -> np.ndarray:
    """The last frame by the projection engine."""
    request = GenerationRequest(frames=FRAMES, width=SIZE[0], height=SIZE[1])
    events = ProjectionEngine().generate(request, made, cancelled=lambda: False)
    return {event.index: event.pixels for event in events if hasattr(event, "pixels")}[FRAMES - 1]


def tile(label: str, picture: np.ndarray) -> np.ndarray:
    small = cv2.resize(picture, TILE, interpolation=cv2.INTER_AREA)
    small[:24] = small[:24] // 3
    cv2.putText(small, label, (8, 17), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (255, 255, 255), 1, cv2.LINE_AA)
    return np.pad(small, ((2, 2), (2, 2), (0, 0)))


def write(name: str, rows: list[dict[str, np.ndarray]]) -> None:
    pictures = [np.concatenate([tile(label, picture) for label, picture in row.items()], axis=1) for row in rows]
    imageio.imwrite(Path(__file__).with_name(name), np.concatenate(pictures), quality=85)


def camera_figure(still: dict[str, np.ndarray]) -> None:
    made = {text: prepared("camera_control", still, camera=CameraControl(motion=text)) for text in ("trans 0.8 0 0", "rot y 12", "trans 0 0 -3")}
    first = {"the picture": still["source"][0], "its tracking video, frame 1": made["rot y 12"]["tracking"][0], "nearness": nearness(still)}
    last = {f"{text}, last frame": one["tracking"][-1] for text, one in made.items()}
    shown = {f"{text}, projected": projected(one) for text, one in made.items()}
    write("camera_control.jpg", [first, last, shown])


def nearness(still: dict[str, np.ndarray]) -> np.ndarray:
    near = 1 / still["source_depth"][0]
    grey = np.clip(near / np.percentile(near[near > 0], 99), 0, 1) * 255
    return np.repeat(grey.astype(np.uint8)[..., None], 3, axis=-1)


def object_figure(still: dict[str, np.ndarray], objects: np.ndarray) -> None:
    ball, walker = (objects == objects[row, column] for column, row in (BALL, WALKER))
    motions = {"right 260": (ball, "right", 260.0), "front 250": (ball, "front", 250.0), "rot 40": (walker, "rot", 40.0)}
    tiles = {"a mask": np.where(ball[..., None], still["source"][0] // 2 + np.uint8([127, 60, 0]), still["source"][0])}
    for label, (mask, motion, distance) in motions.items():
        settings = ObjectManipulation(motion=motion, distance=distance)
        tiles[f"{label}, last frame"] = prepared("object_manipulation", still | {"mask": mask}, object=settings)["tracking"][-1]
    tiles = list(tiles.items())
    write("object_manipulation.jpg", [dict(tiles[:2]), dict(tiles[2:])])


def main(take: Path) -> None:
    path = read_camera_path(take / "camera.json")
    with np.load(take / "signals.npz") as stored:
        depth, objects = stored["depth"][:1].astype(np.float32), stored["object"][0]
    still = {"source": imageio.imread(take / "first_frame.png")[None, ..., :3], "source_depth": depth, "source_K": path.K[:1]}
    camera_figure(still)
    object_figure(still, objects)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
