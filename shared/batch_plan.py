"""What a batch has to do: captures and takes, and which of them an earlier run has made already."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from . import batch_state
from .batch_state import BatchState, Folder, Made
from .shots import Capture, PlannedTake

Action = Literal["make", "go on", "keep"]  # go on: the take was begun, and has what came


@dataclasses.dataclass(eq=False)
class CaptureWork:
    """A tracking video to draw, or one that is there (keep)."""

    name: str
    capture: Capture
    made: Made
    action: Action = "make"
    progress: tuple[str, int, int, float | None] = ("", 0, 1, None)  # phase, step, total, seconds left


@dataclasses.dataclass(eq=False)
class TakeWork:
    """A take to generate, to go on with, or one that is there (keep)."""

    planned: PlannedTake
    capture: CaptureWork
    made: Made
    action: Action = "make"
    progress: tuple[str, int, int, float | None] = ("", 0, 1, None)

    @property
    def name(self) -> str:
        return self.planned.name

    @property
    def is_over(self) -> bool:
        return self.action == "keep" or self.made.state in ("done", "failed")


Work = CaptureWork | TakeWork


@dataclasses.dataclass
class Plan:
    """In the order of the file."""

    captures: list[CaptureWork]
    takes: list[TakeWork]


def make_plan(planned: Sequence[PlannedTake], folder: Folder, state: BatchState | None) -> Plan:
    """What is missing or changed is to be made, the rest is kept. Only reads."""
    before = (state.captures, state.takes) if state else ({}, {})
    hashes: dict[str, str] = {}
    captures: dict[Capture, CaptureWork] = {}
    takes = []
    for take in planned:
        if take.capture not in captures:
            captures[take.capture] = _capture_work(take, folder, before[0].get(take.name), hashes)
        takes.append(_take_work(take, captures[take.capture], folder, before[1].get(take.name)))
    for work in captures.values():
        wanted = any(take.capture is work and take.action == "make" for take in takes)
        if work.action == "make" and not wanted:
            work.action = "keep"  # all that is made of it is there
    return Plan(list(captures.values()), takes)


def _capture_work(take: PlannedTake, folder: Folder, before: Made | None, hashes: dict[str, str]) -> CaptureWork:
    fingerprint = batch_state.capture_print(take.capture, hashes)
    if batch_state.is_captured(folder.capture(take.name), before, fingerprint):
        return CaptureWork(take.name, take.capture, before, "keep")
    same = before if before and before.print == fingerprint else None
    findings = same.findings if same else []
    return CaptureWork(take.name, take.capture, Made(name=take.name, print=fingerprint, findings=findings))


def _take_work(take: PlannedTake, capture: CaptureWork, folder: Folder, before: Made | None) -> TakeWork:
    fingerprint = batch_state.take_print(take, capture.made.print)
    ranked = take.best_of == 1 or bool(before and before.state == "done")
    if ranked and batch_state.is_made(folder.take(take.name), before, fingerprint):
        before.state, before.failure = "done", None
        return TakeWork(take, capture, before, "keep")
    made = Made(name=take.name, print=fingerprint)
    can_go_on = batch_state.can_go_on(folder.take(take.name), before, fingerprint)
    return TakeWork(take, capture, made, "go on" if can_go_on else "make")
