"""`das generate TAKE`: what both rooms do alike, each with its own way to read and write pictures."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import msgspec
import numpy as np

from . import options
from .best_of import check_best_of, generate_best, score_takes
from .command_backend import PATIENCE, backend_of, tell_events
from .errors import UsageError
from .generation import generate
from .interrupt import cancelled_by_signal
from .preparation import prepare
from .report import Reporter
from .request import GenerationRequest, check
from .resuming import begun_take
from .take import Images, Take
from .take_copy import copy_take

GENERATION_FIELDS = {"engine", "prompt", "negative_prompt", "seed", "repaint", *options.MODEL_FIELDS}


def generate_take(args: argparse.Namespace, reporter: Reporter, images: Images) -> int:
    """Generate a prepared take, go on with an interrupted one, or make a new one with -o; the exit code."""
    options.refuse_scene_options(args)
    check_best_of(args.best_of)
    take = Take.open(args.target, images)
    take = _begun_or_copied(take, args) if args.output else _changed(take, args)
    if getattr(args, "repaint", None):
        run_generation(take, reporter, _inputs_of_repaint(take), only_tracking=args.best_of is not None)
    elif args.best_of is None and take.record.state == "done" and not take.missing_frames():
        reporter.note("This take is complete. Give -o for a new one.")
    elif args.best_of is None:
        run_generation(take, reporter)
    if args.best_of is not None:
        return generate_best(take, args.best_of, reporter)
    return tell_made(take, args, reporter)


def repaint_take(args: argparse.Namespace, reporter: Reporter, images: Images) -> int:
    """Paint a take's first frame anew, or choose another of the candidates that it has; the exit code."""
    take = Take.open(args.target, images)
    if args.repaint:
        take = _changed(take, args)
        run_generation(take, reporter, _inputs_of_repaint(take), only_tracking=True)
    elif args.choose:
        _choose(take, args.choose)
    else:
        raise UsageError("Nothing is to be painted.", "Give --repaint sdxl or flux, or --choose K of the candidates.")
    tell_prepared(take, reporter)
    return 0


def _inputs_of_repaint(take: Take) -> dict[str, np.ndarray]:
    """First frame, its depth and the tracking video of a take that nothing has been made of."""
    if len(take.missing_frames()) < take.record.request.frames:
        raise UsageError(f"{take.folder} has frames of its first frame already.", "Give -o for a new take.")
    signals = take.read_signals()
    if "depth" not in signals:
        raise UsageError(f"{take.folder} has no depth, which a repaint follows.", "Make the take of a scene, or give the picture as --first-frame.")
    return {"first_frame": signals["first_frame"], "depth": np.array(signals["depth"][0]), "tracking": signals["tracking"]}


def _choose(take: Take, number: int) -> None:
    if not take.candidate_file(number).exists():
        raise UsageError(f"{take.folder} has no candidate {number}.", "Choose one of its folder candidates.")
    _replace_first_frame(take, take.candidate_file(number))
    take.record.request.repaint = msgspec.structs.replace(take.record.request.repaint, choice=number)
    take.save()


def run_generation(
    take: Take, reporter: Reporter, inputs: Mapping[str, np.ndarray] | None = None, *, only_tracking: bool = False
) -> None:
    """From the take to its video, with a backend that is started where none runs and released at the end.

    A take that is given the ``inputs`` of its task is prepared from them first, or only its first frame where it is drawn.
    """
    drawn = inputs is not None and "tracking" in inputs
    request = msgspec.structs.replace(take.record.request, task="mesh_to_video") if drawn else None
    stopped: list[bool] = []
    cancel = {"patience": PATIENCE, "cancelled": lambda: bool(stopped)}
    with cancelled_by_signal(lambda: stopped.append(True)):
        reporter.progress("backend", 0, 1)
        with backend_of(take, stopped) as peer:
            if inputs is not None:
                tell_events(prepare(take, peer, inputs, request=request, **cancel), take, reporter)
            if not only_tracking:
                tell_events(generate(take, peer, **cancel), take, reporter)
                reporter.saved(take.video)


def tell_prepared(take: Take, reporter: Reporter) -> None:
    """Where the prepared take lies, and how it came to be."""
    for sentence in take.record.notes:
        reporter.note(sentence)
    reporter.result(
        f"{take.folder}\nMake its video with: das generate {take.folder}",
        take=str(take.folder.resolve()),
        state=take.record.state,
        timings=take.record.timings,
        notes=take.record.notes,
    )


def tell_made(take: Take, args: argparse.Namespace, reporter: Reporter) -> int:
    """The finished video, scored where that is asked for; the exit code."""
    if args.score:
        score_takes([take], reporter)
    tell_result(take, reporter)
    return 0


def tell_result(take: Take, reporter: Reporter) -> None:
    """Where the finished video lies, and how it came to be."""
    record = take.record
    for sentence in (*record.notes, *([record.score.sentence] if record.score else [])):
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
        score=msgspec.to_builtins(record.score, str_keys=True),
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
    if request.first_frame.source == "file" and getattr(args, "first_frame", None):
        _replace_first_frame(take, Path(request.first_frame.path))
    return take


def _begun_or_copied(source: Take, args: argparse.Namespace) -> Take:
    """With --resume the take that an earlier run of the same command has begun, else a copy of the other."""
    if not args.resume:
        return _copied(source, args)
    return begun_take(args.output, _request_of_copy(source, args), source.images) or _copied(source, args)


def _request_of_copy(source: Take, args: argparse.Namespace) -> GenerationRequest:
    return msgspec.structs.replace(_changed_request(source.record.request, args), write=())  # these stay where they are


def _copied(source: Take, args: argparse.Namespace) -> Take:
    """A new take with the tracking, signals and first frame of another, and the options that were given."""
    request = _request_of_copy(source, args)
    take = copy_take(source, args.output, request)
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
