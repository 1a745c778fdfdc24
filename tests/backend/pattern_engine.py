"""An engine for tests: frames that can be foretold, and every way to go wrong, chosen by words in the prompt."""

from __future__ import annotations

import os
import time
from pathlib import Path

import numpy as np

from diffusion_as_shader.backend import engines
from diffusion_as_shader.shared.errors import GenerationError
from diffusion_as_shader.shared.messages import EngineInfo

NAME = "test_pattern"


def pattern(tracking: np.ndarray, index: int, seed: int) -> np.ndarray:
    """What the engine makes of tracking frame ``index``: u8 [H,W,3]."""
    return tracking[index] ^ np.uint8((index * 7 + seed) % 256)


def preview(number: int) -> np.ndarray:
    """The live preview ``number``: three pictures, each of one grey."""
    return np.repeat(np.uint8([40, 80, 120]) + np.uint8(number), 8 * 12 * 3).reshape(3, 8, 12, 3)


def wait(seconds: float, cancelled) -> None:
    wait_until = time.monotonic() + seconds
    while time.monotonic() < wait_until and not cancelled():
        time.sleep(0.005)


FAILURES = {
    "driver": RuntimeError("CUDA error: an illegal memory access was encountered\nCompile with TORCH_USE_CUDA_DSA."),
    "memory": MemoryError(),
    "disk": OSError(28, "No space left on device"),
}


def first_time() -> bool:
    """Once for each home: what is to go wrong goes wrong once."""
    try:
        (Path(os.environ["DAS_HOME"]) / "once").touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


class PatternEngine:
    name, resumes = NAME, True

    def capabilities(self) -> EngineInfo:
        return EngineInfo(name=self.name, title="Test pattern", preview=True, resumes=self.resumes)

    def load(self, request) -> None:
        if "load fails" in request.prompt:
            raise GenerationError("The pattern cannot be loaded.", "Ask for another.")

    def release(self) -> None:
        print("the pattern is released", flush=True)

    def generate(self, request, signals, *, cancelled, have=frozenset()):
        words = dict(part.split("=") for part in request.prompt.split() if "=" in part)
        print(f"the pattern leaves out {sorted(have)}", flush=True)
        yield engines.Preview(np.zeros((1, 16, 16, 3), np.uint8))
        for number in range(int(words.get("previews", 0))):
            yield engines.Preview(preview(number))
            yield engines.Progress("denoise", number + 1, int(words["previews"]))
            wait(float(words.get("pause", 0)), cancelled)
            if cancelled():
                return
        for index in (index for index in range(request.frames) if index not in have):
            if str(index) == words.get("die") or (str(index) == words.get("die_once") and first_time()):
                os.kill(os.getpid(), 9)
            if str(index) == words.get("quote"):
                raise RuntimeError(f"nothing can be drawn of {request.prompt!r}")
            if str(index) == words.get("fail"):
                raise FAILURES.get(words.get("by"), RuntimeError("the pattern is torn"))
            if str(index) == words.get("hang") or (str(index) == words.get("hang_once") and first_time()):
                time.sleep(600)
            wait(float(words.get("sleep", 0)), cancelled)
            if cancelled():
                return
            if str(index) != words.get("leave"):
                yield engines.Frame(index, pattern(signals["tracking"], index, request.seed))
            yield engines.Progress("pattern", index + 1, request.frames)
        yield engines.Report(used=["tracking"], notes=["A test."], versions={"pattern": "1"})


class AnewEngine(PatternEngine):
    """One that makes all frames anew at each attempt."""

    name, resumes = f"{NAME}_anew", False
