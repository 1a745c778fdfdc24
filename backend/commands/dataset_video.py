"""`das dataset video`: training clips of real videos, one after the other."""

from __future__ import annotations

import argparse
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from ...shared import options
from ...shared.dataset import FAILURES, ClipRecord, Dataset, clips_in_words, note_failure, with_errors
from ...shared.errors import DONE, Cancelled, DasError, GenerationError, UsageError
from ...shared.interrupt import cancelled_by_signal
from ...shared.only_writer import only_writer
from ...shared.points import query_points
from ...shared.report import Reporter
from ...shared.request import GenerationRequest, check
from ...shared.task_options import task_changes
from ..models.weights import WeightsError
from ..training import video_clips
from ..training.video_clips import Asked, Drawn
from ..training.video_list import Entry, Said, check_template, entries

STAGING = "making"


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    asked = asked_for(args)
    said = Said(check_template(args.prompt), args.prompts, args.tracks, args.licence, args.source)
    videos = entries(args.videos, said)
    if asked.request.depth.source == "file" and len(videos) > 1:
        raise UsageError(f"The depth {args.depth} is of one video, and {len(videos)} are given.", "Give one video, or choose moge or depth_anything.")
    Dataset.create(args.output)
    with only_writer(args.output):
        dataset = Dataset.create(args.output)
        dataset.mend_lists()
        before = len(dataset.records)
        failed = _make(videos, asked, dataset, reporter)
    _tell(dataset, len(dataset.records) - before, failed, reporter)
    return GenerationError.exit_code if failed else DONE


def asked_for(args: argparse.Namespace) -> Asked:
    """The command's options, checked before a video is opened."""
    width, height = options.parse_size(args.size)
    changes = task_changes(args)
    if args.depth == "scene":
        raise UsageError("A video is no scene, so it has no depth of its own.", "Give a depth file, moge or depth_anything.")
    request = GenerationRequest(task="motion_transfer", width=width, height=height, frames=args.count, fit=args.fit, **changes)
    check(msgspec.structs.replace(request, source="video", prompt="video"))
    if request.transfer.tracker != "file":
        _check_grid(request)
    return Asked(request, options.parse_range(args.frames) if args.frames else None, args.lens)


def _check_grid(request: GenerationRequest) -> None:
    """UsageError where the clips are too small for so many points."""
    try:
        query_points(msgspec.structs.replace(request, points=request.transfer.grid))
    except UsageError as error:
        raise UsageError(error.message, "Give fewer with --grid, for example --grid 24x16.") from None


def _make(videos: list[Entry], asked: Asked, dataset: Dataset, reporter: Reporter) -> list[Path]:
    """Make the clips that are missing; the videos of which none could be made."""
    stopped: list[bool] = []
    failed: list[Path] = []
    began, staging = time.monotonic(), dataset.root / STAGING
    try:
        with cancelled_by_signal(lambda: stopped.append(True)):
            for done, entry, drawn in _drawn(videos, asked, dataset, reporter, lambda: bool(stopped)):
                if isinstance(drawn, DasError):
                    failed.append(entry.video)
                    entry_said = note_failure(dataset.root, entry.video.name, drawn)
                    reporter.event("failed", **entry_said)
                    reporter.note(f"No clip was made of {entry.video.name}: {drawn}")
                elif drawn:
                    dataset.append(_written(drawn, entry, asked, dataset, staging), staging)
                reporter.progress("clips", done, len(videos), (time.monotonic() - began) / done * (len(videos) - done))
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return failed


def _drawn(
    videos: list[Entry], asked: Asked, dataset: Dataset, reporter: Reporter, cancelled: Callable[[], bool]
) -> Iterator[tuple[int, Entry, Drawn | DasError | None]]:
    """How many videos are done with each, and what was made of it: None where its clip is there already."""
    there = {video_clips.key(record) for record in dataset.records}
    for done, entry in enumerate(videos, start=1):
        if cancelled():
            raise _cancelled(dataset)
        if (wanted := video_clips.wanted_key(entry, asked)) in there:
            yield done, entry, None
            continue
        try:
            drawn = video_clips.draw(entry, asked, reporter.progress, cancelled)
        except Cancelled:
            raise _cancelled(dataset) from None
        except WeightsError:  # no other video would fare better
            raise
        except DasError as error:
            yield done, entry, error
            continue
        for sentence in drawn.notes if not dataset.records else ():  # what is said of the first clip holds for all
            reporter.note(sentence)
        there.add(wanted)
        yield done, entry, drawn


def _cancelled(dataset: Dataset) -> Cancelled:
    return Cancelled(f"Cancelled: {clips_in_words(len(dataset.records))} in {dataset.root}.", "The same command goes on.")


def _written(drawn: Drawn, entry: Entry, asked: Asked, dataset: Dataset, staging: Path) -> ClipRecord:
    name = video_clips.next_name(dataset.records)
    return with_errors(lambda: video_clips.write(drawn, entry, asked, name, staging), dataset.root)


def _tell(dataset: Dataset, made: int, failed: list[Path], reporter: Reporter) -> None:
    count = len(dataset.records)
    lines = [f"{dataset.root}: {clips_in_words(count)}, {made} of them new."]
    if failed:
        lines.append(f"{len(failed)} video{'s' if len(failed) != 1 else ''} gave no clip: see {dataset.root / FAILURES}; the same command tries again.")
    reporter.result("\n".join(lines), dataset=str(dataset.root.resolve()), clips=count, made=made, failed=[str(video) for video in failed])
