"""What captures and takes are expected to take, from those that were made before. What is not known is None."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import NamedTuple

from .batch_plan import CaptureWork, Plan, TakeWork
from .batch_state import read_record
from .request import GenerationRequest
from .take import TakeRecord

MemoryOf = Callable[[GenerationRequest], str]  # '18.3 GB with plan bf16', or why it is not known
CAPTURE_TIMINGS = ("capture", "first frame", "tracking", "signals", "lossless video", "points")
GENERATION_TIMINGS = ("generation", "video")


class Past(NamedTuple):
    """Takes that were made before, with their scenes and timings."""

    records: list[TakeRecord]

    def capture(self, work: CaptureWork, request: GenerationRequest) -> float | None:
        """Seconds, from captures of the same file, scaled by frames and pixels."""
        scene = work.capture.words[1]
        found = [_seconds(record, CAPTURE_TIMINGS) / _size(record.request) for record in self.records if record.scene == scene]
        return _scaled(found, _size(request))

    def generation(self, request: GenerationRequest) -> float | None:
        """Seconds, from takes of the same engine and settings of speed, scaled by frames, pixels and steps."""
        found = [
            _seconds(record, GENERATION_TIMINGS) / _work(record.request)
            for record in self.records
            if _kind(record.request) == _kind(request)
        ]
        return _scaled(found, _work(request))


def past_of(folders: Iterable[Path]) -> Past:
    """All takes right in these folders."""
    files = {file.resolve() for folder in folders if folder.is_dir() for file in folder.glob("*/take.json")}
    records = [record for file in sorted(files) if (record := read_record(file.parent))]
    return Past(records)


def folders_of(plan: Plan, file: Path, output: Path) -> set[Path]:
    """Where takes of the same shots are likely to lie: the output folder, beside the file, and das/ beside each scene."""
    takes = {output / take.name for take in plan.takes}
    beside = {Path(work.capture.words[1]).parent / "das" for work in plan.captures}
    return {output, output / "captures", file.resolve().parent, file.resolve().parent / "das", *beside, *(take.parent for take in takes)}


def seconds_of_night(captures: Sequence[float | None], generations: Sequence[float | None], jobs: int) -> float | None:
    """About how long both rows take side by side: the longer one, and the first step of the other, which nothing overlaps."""
    if None in captures or None in generations:
        return None
    drawing, making = sum(captures) / jobs, sum(generations)
    if making >= drawing:
        return making + (captures[0] if captures else 0.0)
    return drawing + (generations[-1] if generations else 0.0)


def seconds_left(plan: Plan, past: Past, jobs: int, now: float) -> float | None:
    """Of a night that runs; this night's own timings count more than the past's."""
    captures = [
        _left(work, _mean(plan.captures) or past.capture(work, _request_of(work, plan)), now)
        for work in plan.captures
        if work.action == "make" and work.made.state in ("waiting", "running")
    ]
    generations = [
        _left(take, _mean([other for other in plan.takes if _kind(other.planned.request) == _kind(take.planned.request)]) or past.generation(take.planned.request), now)
        for take in plan.takes
        if take.action != "keep" and take.made.state in ("waiting", "running")
    ]
    return seconds_of_night(captures, generations, jobs)


def duration(seconds: float | None) -> str:
    """'2 h 05 min', '3 min 20 s', '12 s', 'unknown'."""
    if seconds is None:
        return "unknown"
    whole = max(round(seconds), 1)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def _left(work: CaptureWork | TakeWork, whole: float | None, now: float) -> float | None:
    if work.made.state != "running":
        return whole
    own = work.progress[3]
    return own if own is not None else None if whole is None else max(whole - (now - work.made.began), 0.0)


def _mean(works: Sequence[CaptureWork | TakeWork]) -> float | None:
    seconds = [work.made.seconds for work in works if work.made.state == "done" and work.made.seconds]
    return sum(seconds) / len(seconds) if seconds else None


def _request_of(work: CaptureWork, plan: Plan) -> GenerationRequest:
    return next(take.planned.request for take in plan.takes if take.capture is work)


def _seconds(record: TakeRecord, names: Sequence[str]) -> float:
    return sum(record.timings.get(name, 0.0) for name in names)


def _kind(request: GenerationRequest) -> tuple:
    return request.engine, request.quality, request.memory_plan, request.scheduler


def _size(request: GenerationRequest) -> float:
    return float(request.frames * request.width * request.height)


def _work(request: GenerationRequest) -> float:
    return _size(request) * (request.steps if request.engine != "projection" else 1)


def _scaled(found: Sequence[float], size: float) -> float | None:
    known = [each for each in found if each > 0]
    return median(known) * size if known else None
