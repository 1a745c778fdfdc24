"""Camera control, object manipulation and motion transfer: from what the scene has to a take that the backend prepares."""

from __future__ import annotations

from collections.abc import Generator, Iterator

import bpy

from ..shared.request import GenerationRequest
from .jobs import Job
from .take_jobs import TakeJob
from .task_inputs import TaskInputs


class TaskJob(TakeJob):
    """:class:`TakeJob` of a task whose tracking video the backend makes; it needs a backend for every purpose."""

    def _from_scene(self) -> Iterator[None]:
        self._report("inputs", 0, 1)
        yield
        inputs = yield from self._timed("inputs", self._collect())
        for sentence in inputs.notes:
            self.take.note(sentence)
        return inputs.arrays, None

    def _collect(self) -> Generator[None, None, TaskInputs]:
        inputs = TaskInputs(self._find(self._scene), self.request, self._report, self._stopped)
        return (yield from self._rendered(inputs.collecting()))


def job_of(scene: bpy.types.Scene, request: GenerationRequest, *args, **options) -> TakeJob:
    """The job of a request's task; the other arguments are :class:`TakeJob`'s."""
    kind = Job if request.task == "mesh_to_video" else TaskJob
    return kind(scene, request, *args, **options)
