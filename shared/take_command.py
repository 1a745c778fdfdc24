"""`das generate TAKE`: what both rooms do alike, each with its own way to read and write pictures."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from . import messages, options
from .client import Client
from .errors import Cancelled, UsageError
from .generation import generate, reach_backend, told_in
from .interrupt import cancelled_by_signal
from .report import Reporter
from .request import GenerationRequest, check
from .take import Images, Take

GENERATION_FIELDS = {"engine", "prompt", "negative_prompt", "seed", *options.MODEL_FIELDS}
PATIENCE = 0.2  # seconds that one look for events may wait
SECONDS_BETWEEN_LOOKS = 0.05


def generate_take(args: argparse.Namespace, reporter: Reporter, images: Images) -> int:
    """Generate a prepared take, go on with an interrupted one, or make a new one with -o; the exit code."""
    take = Take.open(args.target, images)
    take = _copied(take, args) if args.output else _changed(take, args)
    if take.record.state == "done" and not take.missing_frames():
        reporter.note("This take is complete. Give -o for a new one.")
    else:
        run_generation(take, reporter)
    tell_result(take, reporter)
    return 0


def run_generation(take: Take, reporter: Reporter) -> None:
    """From the take to its video, with a backend that is started where none runs and released at the end."""
    stopped: list[bool] = []
    with cancelled_by_signal(lambda: stopped.append(True)):
        reporter.progress("backend", 0, 1)
        with _backend(take, stopped) as peer:
            for event in generate(take, peer, patience=PATIENCE, cancelled=lambda: bool(stopped)):
                if isinstance(event, messages.Progress):
                    reporter.progress(event.phase, event.step, event.total, event.eta)
                elif isinstance(event, messages.Frame):
                    reporter.event("frame", index=event.index, file=take.frame_file(event.index))


@contextmanager
def _backend(take: Take, stopped: list[bool]) -> Iterator[Client]:
    """A client of the backend; a take that gets none is marked failed, or cancelled."""
    with told_in(take):
        for peer in reach_backend("das"):
            if stopped:
                raise Cancelled("Cancelled while the backend was started.")
            if peer is None:
                time.sleep(SECONDS_BETWEEN_LOOKS)
    with peer:
        yield peer


def tell_result(take: Take, reporter: Reporter) -> None:
    """Where the finished video lies, and how it came to be."""
    record = take.record
    for sentence in record.notes:
        reporter.note(sentence)
    reporter.result(
        str(take.video),
        take=str(take.folder.resolve()),
        video=str(take.video.resolve()),
        state=record.state,
        frames=record.request.frames,
        used=record.used,
        timings=record.timings,
        versions=record.versions,
        notes=record.notes,
    )


def _changed(take: Take, args: argparse.Namespace) -> Take:
    """The same take with the options that were given, as long as nothing has been made of it."""
    request = _changed_request(take.record.request, args)
    if request != take.record.request:
        if take.record.state != "prepared":
            raise UsageError(
                f"{take.folder} was begun with other settings.", "Give -o for a new take, or leave the options away."
            )
        take.record.request = request
        take.save()
    if request.first_frame.source == "file" and args.first_frame:
        _replace_first_frame(take, Path(request.first_frame.path))
    return take


def _copied(source: Take, args: argparse.Namespace) -> Take:
    """A new take with the tracking, signals and first frame of another, and the options that were given."""
    request = msgspec.structs.replace(_changed_request(source.record.request, args), write=())  # these stay where they are
    signals = source.read_signals()
    take = Take.create(args.output, request, source.images, source.record.scene)
    for index, frame in enumerate(signals["tracking"]):
        take.write_tracking_frame(index, frame)
    take.write_first_frame(signals["first_frame"])
    if source.has_signals:
        take.write_signals(signals)
    if (source.folder / "camera.json").exists():
        take.write_camera_path(source.read_camera_path())
    take.note(f"Tracking video of {source.folder.resolve()}.")
    if args.first_frame:
        _replace_first_frame(take, Path(request.first_frame.path))
    return take


def _changed_request(request: GenerationRequest, args: argparse.Namespace) -> GenerationRequest:
    changes = options.changes(args)
    fixed = sorted(set(changes) - GENERATION_FIELDS - {"first_frame"})
    if fixed or ("first_frame" in changes and changes["first_frame"].source != "file"):
        raise UsageError(
            f"The take's tracking video is drawn already, with its own {', '.join(fixed) or 'first frame'}.",
            "Leave that option away, or give the .blend file for a new take.",
        )
    return check(msgspec.structs.replace(request, **changes))


def _replace_first_frame(take: Take, file: Path) -> None:
    pixels, request = take.images.read(file), take.record.request
    height, width = pixels.shape[:2]
    if (width, height) != (request.width, request.height):
        raise UsageError(
            f"{file} is {width}x{height}, the take is {request.width}x{request.height}.",
            "Give an image of the take's size.",
        )
    take.write_first_frame(pixels)
