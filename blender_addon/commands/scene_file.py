"""What the scene commands share: the opened file, the request of its scene, the job run to its end."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

import bpy

from ...shared import options
from ...shared.errors import SceneError, UsageError, did_you_mean
from ...shared.interrupt import cancelled_by_signal, interrupt_postponed
from ...shared.report import Reporter
from ...shared.request import GenerationRequest, Task, check
from ...shared.resuming import begun_take
from ...shared.take import Take, new_take_folder
from ...shared.take_command import run_generation, tell_prepared, tell_result
from .. import properties
from ..footage import in_own_frames
from ..images import BlenderImages
from ..take_jobs import Purpose
from ..task_jobs import job_of


def open_scene(args: argparse.Namespace, file: Path | None, *, with_screens: bool = False) -> bpy.types.Scene:
    """The active scene of ``file``, or of the file that Blender has open. Python in it runs with --scripts only.

    ``with_screens`` where the file is saved again: it would lose its workspaces otherwise.
    """
    _register_settings()
    if file is None and not bpy.data.filepath:
        raise SceneError("No .blend file is open.", "Check the path of the file, or save the scene first.")
    if file is not None:
        _open(args, file, with_screens)
    return _chosen_scene(getattr(args, "scene_name", None), getattr(args, "camera_name", None))


def _open(args: argparse.Namespace, file: Path, with_screens: bool) -> None:
    if not file.is_file():
        what = f"{file} is a folder" if file.is_dir() else f"There is no file {file}"
        raise UsageError(f"{what}.", "Check the path of the .blend file.")
    try:
        with interrupt_postponed():
            bpy.ops.wm.open_mainfile(filepath=str(file.resolve()), load_ui=with_screens, use_scripts=args.scripts)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1].removeprefix("Error: ").rstrip(".")
        raise SceneError(f"{file} cannot be opened: {reason}.", "Give a .blend file that this Blender can read.") from None


def _chosen_scene(scene_name: str | None, camera_name: str | None) -> bpy.types.Scene:
    """The active scene or the named one, seen by its own camera or by the named one. The file itself stays as it is."""
    scene = bpy.context.scene
    if scene_name:
        scene = _named("scene", scene_name, bpy.data.scenes)
        if bpy.context.window:
            bpy.context.window.scene = scene
    if camera_name:
        cameras = {thing.name: thing for thing in scene.objects if thing.type == "CAMERA"}
        scene.camera = _named("camera", camera_name, cameras)
        for marker in scene.timeline_markers:
            marker.camera = None
    return scene


def _named(what: str, name: str, things: Mapping):
    if name in things.keys():
        return things[name]
    fix = f"{did_you_mean(name, things.keys())} It has {', '.join(sorted(things.keys())) or 'none'}.".lstrip()
    raise SceneError(f"The file has no {what} {name}.", fix)


def request_from(args: argparse.Namespace, scene: bpy.types.Scene, task: Task | None = None) -> GenerationRequest:
    """The scene's own settings, for its own task or for this one, changed by the options that were given."""
    _register_settings()
    request = options.changed(properties.request_of(scene, task), args)
    return in_own_frames(scene, request, keep_range=bool(getattr(args, "frames", None)) or scene.das.range == "custom")


def _register_settings() -> None:
    """Scene.das, as a module, where nobody has enabled the add-on."""
    if not hasattr(bpy.types.Scene, "das"):
        properties.register()


def output_folder(args: argparse.Namespace) -> Path:
    """-o, or the next free das/NAME-001 beside the .blend."""
    if args.output:
        return args.output
    blend = Path(bpy.data.filepath)
    return new_take_folder(blend.parent / "das", blend.stem)


def run_job(args: argparse.Namespace, reporter: Reporter, file: Path | None, purpose: Purpose, task: Task | None = None) -> Take:
    """The take of a command's job, run to its end; the first Ctrl-C cancels it."""
    scene = open_scene(args, file)
    request = request_from(args, scene, task)
    if begun := _begun(args, request):
        return _go_on(begun, reporter, purpose)
    tell = {"tell": lambda step: reporter.progress(*step), "saved": reporter.saved}
    job = job_of(scene, request, output_folder(args), purpose, patience=0.2, **tell)
    with cancelled_by_signal(job.cancel):
        take = job.run()
    if purpose == "generate":
        reporter.saved(take.video)
    return take


def _begun(args: argparse.Namespace, request: GenerationRequest) -> Take | None:
    """With --resume the take that an earlier run of the same command has prepared."""
    if not getattr(args, "resume", False):
        return None
    if args.output is None:
        raise UsageError("--resume needs a folder to go on in.", "Give it with -o.")
    return begun_take(args.output, check(request), BlenderImages())


def _go_on(take: Take, reporter: Reporter, purpose: Purpose) -> Take:
    if purpose == "generate" and (take.record.state != "done" or take.missing_frames()):
        run_generation(take, reporter)
    else:
        reporter.note("This take is complete.")
    return take


def run_task(args: argparse.Namespace, reporter: Reporter, task: Task) -> int:
    """A task of the scene's own picture; the exit code."""
    for name, option in {"lens": "--lens", "path_depth": "--path-depth"}.items():
        if getattr(args, name, None) is not None:
            raise UsageError(f"{option} is for pictures that do not know it, and a scene does.", "Leave it away.")
    take = run_job(args, reporter, args.target, "track" if args.only_tracking else "generate", task)
    (tell_prepared if args.only_tracking else tell_result)(take, reporter)
    return 0
