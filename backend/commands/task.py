"""`das camera-control`, `das object-manipulation`, `das motion-transfer` of pictures and videos: take, tracking video, video."""

from __future__ import annotations

import argparse

import msgspec

from ...shared import options
from ...shared.errors import UsageError
from ...shared.report import Reporter
from ...shared.request import GenerationRequest
from ...shared.take import Take, new_take_folder
from ...shared.take_command import run_generation, tell_prepared, tell_result
from ..images import ImageioImages
from ..task_inputs import Gathered, gather

SCENE_ONLY = {"object_name": "--object", "object_follow": "--follow"}


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    gathered = _gather(args, reporter)
    source = args.target.resolve()
    folder = args.output or new_take_folder(source.parent / "das", source.stem)
    take = Take.create(folder, gathered.request, ImageioImages())
    for sentence in gathered.notes:
        take.note(sentence)
    run_generation(take, reporter, gathered.inputs, only_tracking=args.only_tracking)
    (tell_prepared if args.only_tracking else tell_result)(take, reporter)
    return 0


def _gather(args: argparse.Namespace, reporter: Reporter) -> Gathered:
    _check(args)
    request = msgspec.structs.replace(options.changed(GenerationRequest(), args), source=str(args.target.resolve()))
    return gather(
        request,
        frames=options.parse_range(args.frames) if args.frames else None,
        path_depth=getattr(args, "path_depth", None),
        lens=args.lens,
        progress=lambda done, total: reporter.progress("source", done, total),
    )


def _check(args: argparse.Namespace) -> None:
    """UsageError for what makes no sense without a scene, and for what is missing."""
    for name, option in SCENE_ONLY.items():
        if getattr(args, name, None):
            raise UsageError(f"{option} names something in a scene, and {args.target} is none.", "Give the .blend file, or a --mask.")
    if args.depth == "scene":
        raise UsageError(f"{args.target} is no scene, so it has no depth of its own.", "Give a depth file, moge or depth_anything.")
    if args.first_frame in ("render", "workbench", "cycles"):
        raise UsageError(f"--first-frame {args.first_frame} needs a scene.", "Give an image file.")
    if args.command == "camera-control" and not (args.camera_path or args.camera_motion):
        raise UsageError("Where should the camera move?", "Give --path FILE, or --camera-motion 'trans 0 0 -0.5'.")
    if args.command == "object-manipulation":
        if not (args.object_mask or args.object_click):
            raise UsageError("What should move?", "Give --mask IMAGE, or --click X,Y.")
        if not (args.object_motion or args.object_path):
            raise UsageError("Where should it move?", "Give --motion left (or another way), or --motion-path FILE.")
