"""`das benchmark score FILE`: does the control score tell a scene's own renders from wrong ones?

Blender renders the scene, flatly lit or as --first-frame says, also through a camera that goes astray; the backend's Python
spoils the true renders in other ways, scores all of them and ranks them.
"""

from __future__ import annotations

import argparse
import math
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy

from ...shared.report import Reporter
from ...shared.request import GenerationRequest
from ...shared.take import Take, make_empty_folder
from ..flat_light import light_flatly
from .benchmark_projection import open_or_build
from .benchmark_tracks import clip_request, measure, render_clip, render_frames
from .scene_file import request_from

ASTRAY = math.radians(12)  # at the end, to the side


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    scene, name = open_or_build(args)
    if not args.first_frame:
        light_flatly(scene)  # minutes on any processor, and no grain that stands still while things move
    request = clip_request(request_from(args, scene), rendered_as_asked=True)
    with tempfile.TemporaryDirectory(prefix="das-benchmark-") as scratch:
        folder = args.output or Path(scratch) / name
        make_empty_folder(folder)
        true = render_clip(scene, request, folder / "true", reporter)
        render_astray(scene, true, folder / "wrong camera", reporter)
        return measure("score", folder, reporter)


def render_astray(scene: bpy.types.Scene, true: Take, folder: Path, reporter: Reporter) -> None:
    """A take whose results are the scene's, but that its camera turns away more and more after the first."""
    request = true.record.request
    take = Take.create(folder, request, true.images, true.record.scene)
    take.write_frame(0, true.read_first_frame())
    with _camera_astray(scene, request):
        render_frames(scene, take, reporter)


@contextmanager
def _camera_astray(scene: bpy.types.Scene, request: GenerationRequest) -> Iterator[None]:
    true = scene.camera
    astray = bpy.data.objects.new("Astray", true.data)
    scene.collection.objects.link(astray)
    astray.parent = true
    for frame, angle in ((request.start, 0.0), (request.end, ASTRAY)):
        astray.rotation_euler.y = angle
        astray.keyframe_insert("rotation_euler", index=1, frame=frame)
    scene.camera = astray
    try:
        yield
    finally:
        scene.camera = true
        bpy.data.objects.remove(astray)
