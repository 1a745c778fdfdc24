"""The first frame painted anew along its depth, by an image model that follows depth maps: FLUX.1 Depth, or SDXL with a ControlNet.

This module imports no torch: a machine without it can still say what is missing.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ...shared.alignment import Alignment, align
from ...shared.errors import GenerationError, UsageError
from ...shared.request import GenerationRequest
from ...shared.thresholds import MATCH, OFFSET
from ..engines import Progress, Report
from ..models import weights
from ..models.weights import Place
from ..tasks.progress import stop_if, told
from . import catalogue
from .control_picture import Canvas, canvas_for, near_is_white

if TYPE_CHECKING:
    import torch

    from ..models.plans import Plan
    from .painters import Painter, Work

SEEDS = 2**32


class Candidate(msgspec.Struct, frozen=True):
    """A finished picture u8 [H,W,3]; ``index`` counts from 0. ``note`` says its seed and how it lines up with the geometry."""

    index: int
    pixels: np.ndarray
    note: str


Event = Progress | Candidate | Report


def repaint(
    first_frame: np.ndarray,
    depth: np.ndarray,
    request: GenerationRequest,
    *,
    objects: np.ndarray | None = None,
    cancelled: Callable[[], bool],
) -> Iterator[Event]:
    """``request.repaint.candidates`` pictures of the frame u8 [H,W,3], each when it is ready, then a Report.

    ``depth`` f32 [H,W] is camera z in any unit, not finite or not above 0 where unknown; ``objects`` int [H,W] (0 is
    nothing) helps to judge the outlines. Candidate k of a seed is candidate 1 of the seed k - 1 higher; the same request
    gives the same pictures to the bit on one device. Phases prompt, load and repaint. Whatever was loaded is gone when
    this ends, is closed, or raises: Cancelled, UsageError (WeightsError where weights are missing or wrong), NoMemory.
    """
    _check(first_frame, depth, request)
    for name in {"flux": ("flux",), "sdxl": ("sdxl", "sdxl_depth")}[request.repaint.model]:
        catalogue.need_packages(name)
    from .painters import PAINTERS

    painter = PAINTERS[request.repaint.model](request.repaint)
    job = _Job(painter, request, canvas_for((request.width, request.height), painter.side, painter.multiple), first_frame, near_is_white(depth))
    for event in job.events(cancelled):
        yield _judged(event, depth, objects) if isinstance(event, Candidate) else event


def _check(first_frame: np.ndarray, depth: np.ndarray, request: GenerationRequest) -> None:
    if not request.repaint.model:
        raise UsageError("No model is chosen for the repaint.", "Choose flux or sdxl.")
    shape = (request.height, request.width)
    if first_frame.shape != (*shape, 3) or depth.shape != shape:
        raise UsageError(
            f"First frame {list(first_frame.shape)} and depth {list(depth.shape)} are not of the size {request.width}x{request.height}.",
            "Give both in the size of the request.",
        )


class _Job:
    """Candidates of one request, under one memory plan after the other where memory runs out."""

    def __init__(self, painter: Painter, request: GenerationRequest, canvas: Canvas, first_frame: np.ndarray, levels: np.ndarray):
        self._painter, self._request, self._canvas = painter, request, canvas
        self._picture, self._depth = canvas.fill(first_frame), canvas.fill(levels)
        self._made = 0
        self._notes: list[str] = []

    def events(self, cancelled: Callable[[], bool]) -> Iterator[Event]:
        from ..models import plans
        from . import painting_memory

        machine = plans.machine_for(self._request.memory_plan)
        fitting = painting_memory.fitting(machine, self._request.memory_plan, self._painter, self._canvas.size)
        for plan, needed in fitting:
            if (yield from self._attempt(plan, cancelled)):
                yield self._report(plan, plans.gigabytes(needed.peak))
                return
            self._notes.append(f"The repaint ran out of memory with the memory plan {plan.name}.")
        raise plans.NoMemory(
            f"The repaint ran out of memory with the memory plan {fitting[-1][0].name}.", "End other programs that use the memory, or choose sdxl."
        )

    def _attempt(self, plan: Plan, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Whether it came to its end; not where memory ran out. Whatever it loaded is gone when this is left."""
        from ..models import placement

        try:
            yield from self._under(plan, cancelled)
        except Exception as error:
            # Its frames would hold the models for as long as somebody looks at the error.
            traceback.clear_frames(error.__traceback__)
            if not placement.is_out_of_memory(error):
                raise
            return False
        finally:
            placement.give_back_memory()
        return True

    def _under(self, plan: Plan, cancelled: Callable[[], bool]) -> Iterator[Event]:
        import torch

        words = yield from self._words(plan, cancelled)
        yield Progress("load", 0, 1)
        stop_if(cancelled)
        pipeline = self._painter.pipeline(plan, from_noise=self._request.repaint.strength == 1)
        pipeline.set_progress_bar_config(disable=True)
        words = {name: one.to(plan.device) for name, one in words.items()}
        yield Progress("load", 1, 1)
        with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
            while self._made < self._request.repaint.candidates:
                seed = (self._request.seed + self._made) % SEEDS
                pixels = yield from self._picture_of(seed, pipeline, words, cancelled)
                self._made += 1
                yield Candidate(self._made - 1, pixels, f"Candidate {self._made} (seed {seed})")

    def _words(self, plan: Plan, cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Phase ``prompt``; its encoders have come and gone."""
        from ..models import placement

        yield Progress("prompt", 0, 1)
        stop_if(cancelled)
        device = placement.text_device(plan, self._painter.sizes().text * plan.dtype.itemsize)
        words, notes = self._painter.embed(self._request, plan.dtype, device)
        placement.give_back_memory()
        self._notes += [note for note in notes if note not in self._notes]
        yield Progress("prompt", 1, 1)
        return words

    def _picture_of(self, seed: int, pipeline, words: dict[str, torch.Tensor], cancelled: Callable[[], bool]) -> Iterator[Event]:
        """Phase ``repaint``, which counts the steps of all candidates; the picture u8 [H,W,3]."""
        from .painters import Work

        settings = self._request.repaint
        work = Work(self._picture, self._depth, settings.strength, settings.steps or self._painter.steps, seed)
        # No closure, whose cells an error's frames would hold: what is bound here is cleared with them.
        with closing(told("repaint", partial(self._call, pipeline, work, words), cancelled)) as steps:
            painted = yield from steps
        if not np.isfinite(painted).all():
            fix = "Report this with the log, and try another seed or --plan cpu."
            raise GenerationError(f"{self._painter.title} made a picture that is not finite.", fix)
        return self._canvas.cut(painted)

    def _call(
        self, pipeline, work: Work, words: dict[str, torch.Tensor], progress: Callable[[int, int], None], left: Callable[[], bool]
    ) -> np.ndarray:
        from .leaving import between_blocks

        def after_step(pipe, index: int, time, tensors: dict) -> dict:
            progress(self._made * pipe.num_timesteps + index + 1, self._request.repaint.candidates * pipe.num_timesteps)
            return tensors

        with between_blocks(self._painter.networks(pipeline), left):
            return self._painter.call(pipeline, work, words, callback_on_step_end=after_step)

    def _report(self, plan: Plan, needed: str) -> Report:
        painter, (width, height) = self._painter, self._canvas.size
        notes = [f"The first frame was repainted by {painter.title} ({painter.name}) at {width}x{height}."]
        notes += [_licence(place) for place in painter.places]
        notes += [*self._notes, f"Memory plan {plan.name} for the repaint: {needed} expected."]
        return Report(["first_frame", "depth"], notes, {"repaint weights": painter.name, "repaint memory plan": plan.name})


def _licence(place: Place) -> str:
    if entry := catalogue.known(place.hub):
        return f"Licence of {place.hub}: {entry.licence}{f' ({entry.terms})' if entry.terms else ''}."
    manifest = weights.read_manifest(place.folder)
    said = manifest.licence if manifest else "not known here, see where the weights come from"
    return f"Licence of {place.hub or place.folder}: {said}."


def _judged(candidate: Candidate, depth: np.ndarray, objects: np.ndarray | None) -> Candidate:
    """With its note on whether its outlines are where the tracking video has them."""
    known = np.isfinite(depth) & (depth > 0)
    nothing = np.zeros(depth.shape, np.int32)
    found = align(candidate.pixels, nothing if objects is None else objects, np.where(known, depth, np.inf))
    return msgspec.structs.replace(candidate, note=f"{candidate.note} {_verdict(found)}")


def _verdict(found: Alignment) -> str:
    if found.why_not:
        return f"cannot be judged against the tracking video: {found.why_not}."
    if MATCH.severity(found.best):
        return f"does not show the outlines of the tracking video (match {found.best:.2f}): choose another, or a lower strength."
    if OFFSET.severity(found.offset):
        return f"is shifted by {found.offset:.1f} pixels against the tracking video (match {found.best:.2f}): choose another."
    return f"lines up with the tracking video (match {found.best:.2f})."
