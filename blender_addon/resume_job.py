"""A take goes on where it was: with its job at the backend, or generated from anew."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import bpy
import numpy as np

from ..shared import take as takes
from ..shared.errors import UsageError
from .images import BlenderImages
from .sequencer import GrowingStrip
from .stepwise import Step
from .take_jobs import TakeJob


class ResumeJob(TakeJob):
    """:class:`TakeJob` of a take that is there. It needs no scene but the one where its strip grows."""

    def __init__(
        self,
        scene: bpy.types.Scene,
        folder: Path,
        *,
        strip_scene: bpy.types.Scene | None = None,
        tell: Callable[[Step], None] = lambda step: None,
        patience: float = 0.0,
    ):
        take = takes.Take.open(folder, BlenderImages())
        if take.record.state == "done":
            raise UsageError(f"{take.folder.name} is finished.", "Add it to the Sequencer.")
        super().__init__(scene, take.record.request, take.folder, "generate", strip_scene=strip_scene, tell=tell, patience=patience)
        self.take, self._captured = take, True

    def _run(self) -> Iterator[None]:
        yield from self._by_backend(None, None)

    def _generate(self, peer, signals: dict[str, np.ndarray] | None) -> Iterator[None]:
        if not (yield from self._is_known(peer)):
            signals = yield from self._read()
        yield from super()._generate(peer, signals)

    def _is_known(self, peer):
        """Whether the backend has the job still."""
        try:
            info = yield from peer.looking_up(self.take.record.job, self._patience)
        except UsageError:
            return False
        return info.state in ("queued", "running", "done")

    def _strip(self, folder: str) -> GrowingStrip | None:
        strip = super()._strip(folder)
        if strip:
            missing = set(self.take.missing_frames())
            strip.show(index for index in range(self.request.frames) if index not in missing)
        return strip
