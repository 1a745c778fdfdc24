"""Generations under the best memory plan, and under the next one where the memory did not suffice after all."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from ...shared.request import GenerationRequest
from .. import engines
from . import placement, plans
from .checkpoint import Checkpoint
from .pipeline import Pipeline
from .plans import Choice, Machine, NoMemory, gigabytes


class PlannedPipeline:
    """Keeps one pipeline loaded while checkpoint and plan stay the same."""

    def __init__(self):
        self._pipeline: Pipeline | None = None
        self._choice: Choice | None = None
        self._machine: Machine | None = None

    def load(self, request: GenerationRequest) -> None:
        """Choose a plan and check the request; loading itself is a phase of :meth:`generate`."""
        checkpoint = Checkpoint(request.weights, from_base=request.from_base)
        self._use(checkpoint, request, plans.PLANS)
        self._pipeline.check(request)

    def generate(
        self, request: GenerationRequest, signals: dict[str, np.ndarray], cancelled: Callable[[], bool]
    ) -> Iterator[engines.Event]:
        """The pipeline's events. NoMemory where no plan is left, or the request names the one that failed."""
        notes: list[str] = []
        while not (yield from self._attempt(request, signals, cancelled, notes)):
            self._fall_back(request, notes)

    def release(self) -> None:
        """Give back all memory."""
        if self._pipeline is not None:
            self._pipeline.release()
            self._pipeline = None

    def _use(self, checkpoint: Checkpoint, request: GenerationRequest, among: tuple[plans.Plan, ...]) -> None:
        self._machine = plans.machine_for(request.memory_plan)
        network = placement.network_of(checkpoint)
        self._choice = plans.choose(self._machine, network, request, plans.Remembered(), among)
        if self._pipeline is None or not self._pipeline.serves(checkpoint, self._choice.plan):
            self.release()
            self._pipeline = Pipeline(checkpoint, self._choice.plan)

    def _attempt(self, request, signals, cancelled, notes: list[str]) -> Iterator[engines.Event]:
        """Whether it came to its end; not where memory ran out. What an error's traceback holds is free when this returns."""
        placement.begin_measuring()
        try:
            for event in self._pipeline.generate(request, signals, cancelled):
                yield self._completed(event, notes) if isinstance(event, engines.Report) else event
        except Exception as error:
            if not placement.is_out_of_memory(error):
                raise
            return False
        return True

    def _fall_back(self, request: GenerationRequest, notes: list[str]) -> None:
        failed, checkpoint = self._choice.plan, self._pipeline.checkpoint
        self.release()
        plans.Remembered().add(failed, self._machine, placement.network_of(checkpoint), request)
        if request.memory_plan != "auto":
            raise NoMemory(f"The memory plan {failed.name} ran out of memory.", "Choose --plan auto, or one that needs less; das doctor lists them.")
        self._use(checkpoint, request, plans.after(failed))
        notes.append(
            f"The memory plan {failed.name} ran out of memory, so {self._choice.plan.name} was used; it will be from the start from now on."
        )

    def _completed(self, report: engines.Report, notes: list[str]) -> engines.Report:
        """The report with what happened to the plans, and its peak of memory beside what was expected."""
        plan = self._choice.plan
        measured, of = placement.peak_memory(plan.device), "on the card" if plan.device != "cpu" else "of the process"
        peak = f"Memory plan {plan.name}: at most {gigabytes(measured)} {of}, {gigabytes(self._choice.need.peak)} expected."
        return msgspec.structs.replace(report, notes=[*notes, *report.notes, peak])
