"""`das camera FILE`: the scene's camera path into a file, a path file or a motion into the scene."""

from __future__ import annotations

import argparse
import itertools
from pathlib import Path
from typing import Callable

import bpy

from ...shared.camera_files import FORMATS, format_to_write, path_format, read_path, write_path
from ...shared.camera_motion import motion
from ...shared.errors import UsageError
from ...shared.interrupt import cancelled_by_signal
from ...shared.options import parse_size
from ...shared.report import Reporter
from ...shared.request import GenerationRequest
from ..camera_import import add_moved_camera, add_path_camera
from ..camera_path import CameraTrack, frames_to_key, path_of_track, read_cameras, with_motion
from .scene_file import open_scene, request_from


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    _check(args)
    if args.import_path:
        _import(args, reporter)
    elif _makes_a_scene(args):
        _move(args, reporter)
    else:
        _export(args, reporter)
    return 0


def _check(args: argparse.Namespace) -> None:
    """UsageError for options that contradict each other, before the scene is opened."""
    if args.format:
        path_format(args.format)
    blend = args.output and args.output.suffix == ".blend"
    if args.import_path and args.output and not blend:
        raise UsageError(f"An imported path becomes a camera in a .blend, and {args.output} is none.", "Give -o a name that ends with .blend.")
    if blend and not (args.import_path or _makes_a_scene(args)):
        raise UsageError(f"A camera path cannot be written as {args.output}.", "Name a path file with -o, or add --motion or --import.")
    if args.order and not args.motion:
        raise UsageError("--order is the order of a motion, and there is none.", "Give the motion with --motion.")
    if args.set_render_size and not args.import_path:
        raise UsageError("--set-render-size belongs to --import.", "Leave it away, or import a path.")


def _makes_a_scene(args: argparse.Namespace) -> bool:
    """A motion goes onto a camera in a .blend, unless a path file is asked for."""
    return bool(args.motion) and not args.format and (args.output is None or args.output.suffix == ".blend")


def _export(args: argparse.Namespace, reporter: Reporter) -> None:
    name = args.format or (format_to_write(args.output) if args.output else "json")
    scene = open_scene(args, args.file)
    request = request_from(args, scene)
    track = _read(scene, request, args, reporter)
    file = args.output or Path(bpy.data.filepath).with_name(FORMATS[name].file)
    write_path(path_of_track(track, request), file, name)
    if FORMATS[name].lacks:
        reporter.note(FORMATS[name].lacks)
    reporter.result(str(file), camera=str(file.resolve()), frames=request.frames, format=name)


def _move(args: argparse.Namespace, reporter: Reporter) -> None:
    scene = open_scene(args, args.file, with_screens=True)
    request = request_from(args, scene)
    track = _read(scene, request, args, reporter, frames_to_key(request))
    _save(args, reporter, lambda: add_moved_camera(scene, track))


def _import(args: argparse.Namespace, reporter: Reporter) -> None:
    path = read_path(args.import_path, args.format, parse_size(args.size) if args.size else None)
    scene = open_scene(args, args.file, with_screens=True)
    fit = args.fit or scene.das.fit
    _save(args, reporter, lambda: add_path_camera(scene, path, fit=fit, set_render_size=args.set_render_size))


def _read(
    scene: bpy.types.Scene, request: GenerationRequest, args: argparse.Namespace, reporter: Reporter, frames=None
) -> CameraTrack:
    """The scene's camera, moved where --motion says so; Ctrl-C cancels."""
    order = args.order or "sequence"
    if args.motion:
        motion(args.motion, request.frames, order)  # a mistake is said before a camera is read
    stopped: list[bool] = []
    with cancelled_by_signal(lambda: stopped.append(True)):
        track = read_cameras(
            scene, request, frames, progress=lambda *step: reporter.progress("camera", *step), cancelled=lambda: bool(stopped)
        )
    for sentence in track.notes:
        reporter.note(sentence)
    return with_motion(track, request, args.motion, order) if args.motion else track


def _save(args: argparse.Namespace, reporter: Reporter, add: Callable[[], tuple[bpy.types.Object, list[str]]]) -> None:
    """Add a camera to the open scene and save the whole as a new .blend; the scene's own file stays."""
    camera, notes = add()
    for sentence in notes:
        reporter.note(sentence)
    file = (args.output or _free_name(Path(bpy.data.filepath))).resolve()
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True, check_existing=False)
    except (OSError, RuntimeError) as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("Error: ").rstrip(".")
        raise UsageError(f"{file} cannot be written: {reason}.", "Choose another file with -o.") from None
    reporter.result(str(file), blend=str(file), camera=camera.name)


def _free_name(blend: Path) -> Path:
    """shot-camera.blend beside shot.blend, or the next number of it that is free."""
    names = itertools.chain([f"{blend.stem}-camera.blend"], (f"{blend.stem}-camera-{number}.blend" for number in itertools.count(2)))
    return next(file for name in names if not (file := blend.with_name(name)).exists())
