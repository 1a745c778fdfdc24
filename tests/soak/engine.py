"""The engine of the soak: the tests' pattern, and a line in the home for each frame that is made."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import numpy as np
import pattern_engine

from diffusion_as_shader.shared.messages import EngineInfo
from diffusion_as_shader.shared.request import GenerationRequest

from .backend import ANEW, ENGINE


class SoakEngine(pattern_engine.PatternEngine):
    """One that goes on where it was interrupted."""

    name = ENGINE
    resumes = True

    def capabilities(self) -> EngineInfo:
        return msgspec.structs.replace(super().capabilities(), name=self.name, resumes=self.resumes)

    def generate(self, request, signals, **more):
        with made_file(Path(os.environ["DAS_HOME"])).open("ab", buffering=0) as made:
            for event in super().generate(request, signals, **more):
                if hasattr(event, "pixels"):
                    made.write(b"%d %d\n" % (request.seed, event.index))
                yield event


class AnewEngine(SoakEngine):
    """One that makes all frames anew."""

    name = ANEW
    resumes = False


def made_file(folder: Path) -> Path:
    """A line ``seed index`` for each frame that an engine of this home has made; elsewhere where its disk is full."""
    return Path(os.environ.get("SOAK_MADE", folder / "made.txt"))


def signals_of(request: GenerationRequest) -> dict[str, np.ndarray]:
    """A job's signals, which follow from its seed."""
    shape = (request.frames, request.height, request.width, 3)
    tracking = np.random.default_rng(request.seed).integers(0, 256, shape, np.uint8)
    return {"tracking": tracking, "first_frame": tracking[0].copy()}


def expected(request: GenerationRequest) -> list[np.ndarray]:
    """What a job's frames must be."""
    tracking = signals_of(request)["tracking"]
    return [pattern_engine.pattern(tracking, index, request.seed) for index in range(request.frames)]
