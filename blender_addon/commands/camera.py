"""`das camera FILE`: the camera path alone."""

from __future__ import annotations

import argparse
from pathlib import Path

import bpy

from ...shared.camera import camera_path, write_camera_path
from ...shared.errors import UsageError
from ...shared.interrupt import cancelled_by_signal
from ...shared.report import Reporter
from ...shared.timeline import sample_frames, video_fps
from ..capture.geometry import capture
from .scene_file import open_scene, request_from


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    scene = open_scene(args, args.file)
    request = request_from(args, scene)
    file = args.output or Path(bpy.data.filepath).with_name("camera.json")
    stopped: list[bool] = []
    with cancelled_by_signal(lambda: stopped.append(True)):
        captured = capture(
            scene, request, progress=lambda *step: reporter.progress("capture", *step), cancelled=lambda: bool(stopped)
        )
    for sentence in captured.notes:
        reporter.note(sentence)
    fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
    sampled = sample_frames(request.start, request.end, request.frames)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_camera_path(camera_path([frame.camera for frame in captured.frames], sampled, fps), file)
    except OSError as error:
        raise UsageError(f"{file} cannot be written: {error.strerror}.", "Choose another file with -o.") from None
    reporter.result(str(file), camera=str(file.resolve()), frames=request.frames)
    return 0
