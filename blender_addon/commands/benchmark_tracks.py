"""`das benchmark tracks`: a scene's rendered frames and the true tracks of its points, for the trackers to be measured on.

Blender makes both, as a take; the backend's Python, which has the trackers, tracks and compares.
"""

from __future__ import annotations

import argparse
import subprocess
import tempfile
from pathlib import Path

import bpy
import msgspec

from ...shared import cli
from ...shared.interrupt import cancelled_by_signal
from ...shared.report import JsonReporter, Reporter
from ...shared.request import FirstFrame, GenerationRequest
from ...shared.take import Take
from ...shared.timeline import sample_frames
from ..capture.first_frame import first_frame
from ..images import BlenderImages
from ..jobs import Job
from .benchmark_projection import open_or_build
from .scene_file import request_from

SAMPLES = 4  # enough to follow; a clip of EEVEE's own 64 takes an hour without a card
POINTS = "50x50"


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    scene, name = open_or_build(args)
    request = clip_request(request_from(args, scene), rendered_as_asked=bool(args.first_frame))
    with tempfile.TemporaryDirectory(prefix="das-benchmark-") as scratch:
        take = render_clip(scene, request, args.output or Path(scratch) / name, reporter)
        return measure("tracks", take.folder, reporter)


def clip_request(request: GenerationRequest, *, rendered_as_asked: bool) -> GenerationRequest:
    """The same with true tracks, and a scene's own engine at few samples."""
    rendered = request.first_frame if rendered_as_asked else FirstFrame(samples=SAMPLES)
    return msgspec.structs.replace(request, first_frame=rendered, write=("tracks",), points=POINTS)


def render_clip(scene: bpy.types.Scene, request: GenerationRequest, folder: Path, reporter: Reporter) -> Take:
    """A take whose results are the scene's own renders of all its frames, with tracks.npz."""
    job = Job(scene, request, folder, "track", tell=lambda step: reporter.progress(*step))
    with cancelled_by_signal(job.cancel):
        take = job.run()
    take.write_frame(0, take.read_first_frame())
    render_frames(scene, take, reporter)
    return take


def render_frames(scene: bpy.types.Scene, take: Take, reporter: Reporter) -> None:
    """All results but the first of a take, as the scene's camera sees them."""
    request, images = take.record.request, BlenderImages()
    for index, moment in enumerate(sample_frames(request.start, request.end, request.frames)[1:], start=1):
        reporter.progress("renders", index, request.frames)
        there = msgspec.structs.replace(request, start=float(moment), end=float(moment) + 1)
        take.write_frame(index, first_frame(scene, there, images))
    reporter.progress("renders", request.frames, request.frames)


def measure(what: str, folder: Path, reporter: Reporter) -> int:
    """The same benchmark of what was rendered, in the backend's Python."""
    argv = ["benchmark", what, str(folder.resolve()), *(["--json"] if isinstance(reporter, JsonReporter) else [])]
    return subprocess.run(cli.command_in(argv, "backend"), stdout=reporter.out, stderr=reporter.err).returncode
