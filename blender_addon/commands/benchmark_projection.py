"""`das benchmark projection`: how near the projection comes to true renders of the same flat-lit scene.

The whole path runs, a real backend included; Blender renders some of the frames through the same window.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import bpy
import msgspec
import numpy as np

from ...shared.interrupt import cancelled_by_signal
from ...shared.psnr import psnr_of_error, squared_error, visible_in_first_frame
from ...shared.report import Reporter
from ...shared.request import FirstFrame, GenerationRequest
from ...shared.take import Take
from ...shared.timeline import sample_frames
from ..capture.first_frame import first_frame
from ..example_scene import build_example_scene
from ..flat_light import light_flatly
from ..images import BlenderImages
from ..jobs import Job
from .scene_file import open_scene, request_from

TRUE_FRAMES = 8
PARTS = ("all", "visible", "others")


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    scene, name = open_or_build(args)
    light_flatly(scene)
    request = msgspec.structs.replace(request_from(args, scene), first_frame=FirstFrame(), engine="projection")
    with tempfile.TemporaryDirectory(prefix="das-benchmark-") as scratch:
        take = _generate(scene, request, (args.output or Path(scratch)) / "take", reporter)
        figures = compare(take, true_frames(scene, request, reporter))
    _tell(reporter, name, request, figures)
    return 0


def true_frames(scene: bpy.types.Scene, request: GenerationRequest, reporter: Reporter) -> dict[int, np.ndarray]:
    """Blender's own u8 [H,W,3] of some results, by index; never of the first, which is given."""
    sampled = sample_frames(request.start, request.end, request.frames)
    chosen = [int(index) for index in np.rint(np.linspace(0, request.frames - 1, TRUE_FRAMES + 1))[1:]]
    truth = {}
    for step, index in enumerate(chosen):
        reporter.progress("true renders", step, len(chosen))
        there = msgspec.structs.replace(request, start=float(sampled[index]), end=float(sampled[index]) + 1)
        truth[index] = first_frame(scene, there, BlenderImages())
    reporter.progress("true renders", len(chosen), len(chosen))
    return truth


def compare(take: Take, truth: dict[int, np.ndarray]) -> dict[str, tuple[float, float]]:
    """For each of PARTS: PSNR in dB over all compared frames, and the part's share of their pixels."""
    path = take.read_camera_path()
    signals = take.read_signals()
    sums = {part: np.zeros(2) for part in PARTS}
    for index, true in truth.items():
        result = take.images.read(take.frame_file(index))
        visible = visible_in_first_frame(
            signals["rest"][index].astype(np.float32), signals["valid"][index], signals["depth"][0], path.camera(index), path.camera(0)
        )
        masks = {"all": np.ones_like(visible), "visible": visible, "others": ~visible}
        for part, mask in masks.items():
            sums[part] += squared_error(result, true, mask)
    whole = sums["all"][1]
    return {part: (psnr_of_error(error, int(count)), count / whole) for part, (error, count) in sums.items()}


def open_or_build(args: argparse.Namespace) -> tuple[bpy.types.Scene, str]:
    """The file's scene, or the example, and its name."""
    if args.file:
        return open_scene(args, args.file), args.file.stem
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return build_example_scene(), "example"


def _generate(scene: bpy.types.Scene, request: GenerationRequest, folder: Path, reporter: Reporter) -> Take:
    job = Job(scene, request, folder, tell=lambda step: reporter.progress(*step), patience=0.2)
    with cancelled_by_signal(job.cancel):
        return job.run()


def _tell(reporter: Reporter, name: str, request: GenerationRequest, figures: dict) -> None:
    titles = {"all": "all pixels", "visible": "visible in the first frame", "others": "the others"}
    lines = [f"  {titles[part]:<28}{decibels:6.2f} dB   {share:6.1%} of the pixels" for part, (decibels, share) in figures.items()]
    reporter.result(
        f"{name}, {request.frames} frames {request.width}x{request.height}, {TRUE_FRAMES} compared with renders,"
        f" Blender {bpy.app.version_string}\n" + "\n".join(lines),
        scene=name,
        blender=bpy.app.version_string,
        compared=TRUE_FRAMES,
        psnr={part: decibels for part, (decibels, _) in figures.items()},
        share={part: share for part, (_, share) in figures.items()},
    )
