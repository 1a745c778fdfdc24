"""`das generate TAKE` and `das generate --tracking VIDEO|FOLDER --first-frame IMAGE`, with no Blender at all."""

from __future__ import annotations

import argparse

from ...shared import options
from ...shared.errors import UsageError
from ...shared.report import Reporter
from ...shared.request import GenerationRequest
from ...shared.take import Take, new_take_folder
from ...shared.take_command import generate_take, run_generation, tell_made
from ..images import ImageioImages
from ..tracking_input import take_from_tracking


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    if not args.tracking:
        return generate_take(args, reporter, ImageioImages())
    options.refuse_scene_options(args)
    take = _from_tracking(args)
    run_generation(take, reporter)
    return tell_made(take, args, reporter)


def _from_tracking(args: argparse.Namespace) -> Take:
    if args.target:
        raise UsageError(f"Both {args.target} and --tracking are given.", "Give one of them.")
    if args.resume:
        raise UsageError("--resume is for a scene or a take.", "Leave it away; das generate TAKE goes on with a take that was begun.")
    if args.first_frame is None:
        raise UsageError("--tracking needs the first frame too.", "Give it with --first-frame IMAGE.")
    if any((args.frames, args.size, args.count, args.fit, args.hidden, args.percentiles, args.background)):
        raise UsageError(
            "A tracking video has its own frames, size and colours.",
            "Leave --frames, --size, --count, --fit, --hidden, --percentiles and --background away.",
        )
    if args.best_of is not None or args.score:
        raise UsageError("A tracking video alone does not say where its points truly are.", "Leave --score and --best-of away, or give the .blend file.")
    if args.write or args.points:
        raise UsageError("Only a scene has what --write writes.", "Leave --write and --points away, or give the .blend file.")
    request = options.changed(GenerationRequest(), args)
    source = args.tracking.resolve()
    if not source.exists():
        raise UsageError(f"There is no tracking video {args.tracking}.", "Check the path.")
    folder = args.output or new_take_folder(source.parent / "das", source.stem)
    try:
        return take_from_tracking(folder, source, request)
    except UsageError:
        if not args.output:
            folder.rmdir()
        raise
