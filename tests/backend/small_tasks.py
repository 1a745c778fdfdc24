"""Running a task in a test, and small scenes whose every number is known."""

import msgspec
import numpy as np

from diffusion_as_shader.backend import tasks
from diffusion_as_shader.backend.engines import Progress, Report
from diffusion_as_shader.shared import task_signals
from diffusion_as_shader.shared.request import GenerationRequest

WIDTH, HEIGHT, FRAMES, FOCAL = 96, 64, 9, 80.0
REQUEST = GenerationRequest(task="camera_control", width=WIDTH, height=HEIGHT, frames=FRAMES)
K = np.array([[FOCAL, 0, WIDTH / 2], [0, FOCAL, HEIGHT / 2], [0, 0, 1]])


class Prepared(msgspec.Struct):
    """What a task made: signals by name, the Report, and the phases that it told."""

    signals: dict[str, np.ndarray]
    report: Report
    phases: list[str]

    @property
    def notes(self) -> str:
        return "\n".join(self.report.notes)


def prepare(request: GenerationRequest, inputs: dict[str, np.ndarray], cancelled=lambda: False) -> Prepared:
    """Run a task as the worker does: inputs checked and read-only, every signal once and of its form, one Report at the end."""
    task_signals.check_inputs(request, inputs)
    for array in inputs.values():
        array.flags.writeable = False
    *events, report = tasks.prepare(request, inputs, cancelled=cancelled)
    assert isinstance(report, Report)
    signals, lengths = {}, {}
    for event in events:
        if isinstance(event, tasks.Signal):
            assert event.name not in signals
            task_signals.check_array(event.name, event.array, task_signals.OUTPUTS[event.name], request, lengths)
            signals[event.name] = event.array
    return Prepared(signals, report, list(dict.fromkeys(event.phase for event in events if isinstance(event, Progress))))


def replaced(request: GenerationRequest, **changes) -> GenerationRequest:
    return msgspec.structs.replace(request, **changes)


def picture(seed: int = 0) -> np.ndarray:
    """u8 [1,H,W,3]"""
    return np.random.default_rng(seed).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)


def still(depth: np.ndarray | float) -> dict[str, np.ndarray]:
    """The inputs of a picture with depth [H,W], or of a wall that faces the camera at this depth."""
    depth = np.broadcast_to(np.float32(depth), (1, HEIGHT, WIDTH)).copy()
    return {"source": picture(), "source_depth": depth, "source_K": K[None].copy()}


def place(tracking: np.ndarray) -> np.ndarray:
    """f32 [...,2]: where in the first frame the colours of a tracking frame were, in pixels."""
    return tracking[..., :2] * np.float32([WIDTH / 255, HEIGHT / 255])
