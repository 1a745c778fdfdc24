"""`das demo`: the whole path on the example scene, or on any other, into one folder to look at.

NAME.blend         a copy of the scene whose Sequencer holds the result
take/              the take, with video.mp4
contact-sheet.png
"""

from __future__ import annotations

import argparse
import io
from contextlib import contextmanager, redirect_stdout
from pathlib import Path

import bpy
import msgspec

from ...shared.contact_sheet import contact_sheet
from ...shared.errors import GenerationError
from ...shared.interrupt import cancelled_by_signal
from ...shared.report import Reporter
from ...shared.request import FirstFrame, GenerationRequest
from ...shared.take import Take, make_empty_folder, new_take_folder
from ..example_scene import build_example_scene
from ..images import BlenderImages
from ..jobs import Job
from ..sequencer import show_in_sequencer
from .scene_file import open_scene, request_from

EEVEE_SAMPLES = 8


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    scene = open_scene(args, args.scene) if args.scene else _example()
    request = request_from(args, scene)
    if not args.first_frame:
        request = _quick_first_frame(request, scene, reporter)
    folder = args.output or new_take_folder(Path("das-demo"), _blender_version())
    blend = _save_copy(folder, args.scene.stem if args.scene else "example")
    job = Job(
        bpy.context.scene,
        request,
        folder / "take",
        strip_scene=bpy.context.scene,
        tell=lambda step: reporter.progress(*step),
        patience=0.2,
    )
    with cancelled_by_signal(job.cancel):
        take = job.run()
    for sentence in take.record.notes:
        reporter.note(sentence)
    show_in_sequencer(bpy.context, bpy.context.scene)
    _save(blend)
    sheet = write_contact_sheet(take, folder / "contact-sheet.png")
    _tell(reporter, take, sheet, blend)
    return 0


def _quick_first_frame(request: GenerationRequest, scene: bpy.types.Scene, reporter: Reporter) -> GenerationRequest:
    """Few samples for EEVEE, whose own 64 take minutes on a machine without a GPU."""
    if request.first_frame != FirstFrame() or not scene.render.engine.startswith("BLENDER_EEVEE"):
        return request
    reporter.note(
        f"The demo renders the first frame by EEVEE with {EEVEE_SAMPLES} samples; --first-frame render takes the scene's own."
    )
    return msgspec.structs.replace(request, first_frame=FirstFrame(source="render", samples=EEVEE_SAMPLES))


def write_contact_sheet(take: Take, file: Path) -> Path:
    """The take's contact sheet as a PNG, whole or not at all; its file."""
    partial = file.with_name(file.name + ".partial")
    pixels = contact_sheet(take)
    try:
        BlenderImages().write(partial, pixels)
        partial.replace(file)
    except OSError as error:
        raise GenerationError(f"{file} cannot be written: {error.strerror}.", "Free some space.") from error
    finally:
        partial.unlink(missing_ok=True)
    return file


def _example() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return build_example_scene()


def _blender_version() -> str:
    major, minor, _ = bpy.app.version
    return f"{major}.{minor}"


def _save_copy(folder: Path, name: str) -> Path:
    """The open scene as a new file in ``folder``, which is the open file from now on: the user's stays as it is."""
    make_empty_folder(folder)
    blend = folder.resolve() / f"{name}.blend"
    _save(blend)
    return blend


def _save(blend: Path) -> None:
    with _without_backup(), redirect_stdout(io.StringIO()):  # "Info: Saved", which would stand among the results
        try:
            bpy.ops.wm.save_as_mainfile(filepath=str(blend), relative_remap=True)
        except RuntimeError as error:
            reason = str(error).strip().removeprefix("Error: ").rstrip(".")
            raise GenerationError(f"{blend} cannot be written: {reason}.", "Choose another folder with -o.") from None


@contextmanager
def _without_backup():
    """Blender's own .blend1 copies would only confuse here."""
    paths = bpy.context.preferences.filepaths
    before, paths.save_version = paths.save_version, 0
    try:
        yield
    finally:
        paths.save_version = before


def _tell(reporter: Reporter, take: Take, sheet: Path, blend: Path) -> None:
    found = {"take": take.folder, "video": take.video, "contact_sheet": sheet, "blend": blend}
    lines = [f"{name.replace('_', ' ') + ':':<15}{path.resolve()}" for name, path in found.items()]
    reporter.result(
        "\n".join(lines),
        **{name: str(path.resolve()) for name, path in found.items()},
        state=take.record.state,
        timings=take.record.timings,
        notes=take.record.notes,
    )
