"""The DaS engine: the published video diffusion model, or any checkpoint of its layout.

This module imports no torch: a machine without it can still say what is missing.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable, Iterator

import numpy as np

from ...shared.errors import DasError, GenerationError
from ...shared.messages import EngineInfo
from ...shared.request import MODEL_FRAMES, MODEL_SIZE, GenerationRequest
from ..models import weights
from . import Event

LIBRARIES = ("torch", "diffusers", "transformers", "safetensors", "einops")


class DasEngine:
    """engines.Engine with the diffusion model, which stays loaded while jobs ask for the same weights and plan."""

    name = "das"

    def __init__(self):
        self._planned = None

    def capabilities(self) -> EngineInfo:
        """For the published weights; a request that names weights of its own is judged by :meth:`load`."""
        info = EngineInfo(
            name=self.name,
            title="Diffusion as Shader",
            device="cuda" if shutil.which("nvidia-smi") else "cpu",
            prompt=True,
            preview=True,
            frames=[MODEL_FRAMES],
            sizes=[MODEL_SIZE],
        )
        try:
            require_libraries()
            weights.find("")
        except DasError as error:
            info.available, info.reason, info.fix = False, error.message, error.fix
        return info

    def load(self, request: GenerationRequest) -> None:
        """Look at the weights and check the request by them; what is loaded of others is freed. Loading is a phase of generate."""
        require_libraries()
        from ..models.planned import PlannedPipeline

        self._planned = self._planned or PlannedPipeline()
        self._planned.load(request)

    def generate(
        self,
        request: GenerationRequest,
        signals: dict[str, np.ndarray],
        *,
        cancelled: Callable[[], bool],
        have: frozenset[int] = frozenset(),
    ) -> Iterator[Event]:
        """Phases prompt, load (where it must), encode, denoise and decode; frames in order, then the Report.

        All frames come from one denoising, so this engine does not resume: ``have`` is empty.
        """
        yield from self._planned.generate(request, signals, cancelled)

    def release(self) -> None:
        """Give back all memory; the next generation loads again."""
        if self._planned is not None:
            self._planned.release()


def require_libraries() -> None:
    """GenerationError where a library of the model is not installed."""
    missing = [name for name in LIBRARIES if importlib.util.find_spec(name) is None]
    if missing:
        raise GenerationError(
            f"The model needs {', '.join(missing)}, which this Python does not have.", "Run python3 install/run.py setup --model."
        )
