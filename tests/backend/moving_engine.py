"""An engine for tests: the first frame moved to the right, at the right speed for one seed only."""

from __future__ import annotations

import numpy as np

from diffusion_as_shader.backend import engines
from diffusion_as_shader.shared.errors import GenerationError
from diffusion_as_shader.shared.messages import EngineInfo

NAME = "test_moving"
SPEED, RIGHT_SEED = 4, 2  # pixels a frame


class MovingEngine:
    name = NAME

    def capabilities(self) -> EngineInfo:
        return EngineInfo(name=self.name, title="Test of moving")

    def load(self, request) -> None:
        if f"no seed {request.seed}" in request.prompt or "no seed at all" in request.prompt:
            raise GenerationError(f"The seed {request.seed} fails.", "Take another.")

    def release(self) -> None:
        pass

    def generate(self, request, signals, *, cancelled, have=frozenset()):
        speed = SPEED - abs(request.seed - RIGHT_SEED)
        for index in range(request.frames):
            yield engines.Frame(index, np.roll(signals["first_frame"], speed * index, axis=1))
        yield engines.Report(used=["first_frame"])
