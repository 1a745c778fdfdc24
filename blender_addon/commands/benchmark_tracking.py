"""`das benchmark tracking`: how fast capture, drawing and colouring are here, beside plain ways of doing the same.

All in one run on one machine, medians. It only measures: a slow machine is no error.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import bpy
import msgspec
import numpy as np

from ...shared import options, tracking
from ...shared.camera import Camera, Intrinsics
from ...shared.report import Reporter
from ...shared.request import GenerationRequest, check
from ...shared.timeline import sample_frames, split_frame
from ..benchmark_scene import build_benchmark_scene
from ..capture.draw import NumpyDrawer, choose_drawer
from ..capture.geometry import Capture, capture
from ..capture.signals import draw_signals
from .benchmark_sizes import tell_sizes
from .scene_file import open_scene, request_from

REFERENCE_FRAMES = 3
COLOURED_POINTS = 10_000
REPEATS = 5


class Measured(msgspec.Struct):
    """One scene's figures, seconds a frame (seconds in all for colouring)."""

    scene: str
    vertices: int
    triangles: int
    frames: int
    capture: float
    bare_loop: float
    drawing: float
    reference: float
    reference_frames: int
    signals: float
    drawer: str


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    reporter.result(f"Blender {bpy.app.version_string}, medians, seconds a frame", blender=bpy.app.version_string)
    if args.file:
        scene = open_scene(args, args.file)
        _tell(reporter, measure(args.file.stem, scene, request_from(args, scene), reporter))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = build_benchmark_scene()
    request = check(msgspec.structs.replace(GenerationRequest(), **options.changes(args)))
    _tell(reporter, measure("100,000 triangles", scene, request, reporter))
    _tell_colouring(reporter)
    tell_sizes(reporter)
    return 0


def measure(name: str, scene: bpy.types.Scene, request: GenerationRequest, reporter: Reporter) -> Measured:
    """Capture, draw and compare one scene. The viewport shows what a render would, so that both loops do the same."""
    _show_as_rendered(scene)
    sampled = sample_frames(request.start, request.end, request.frames)
    captured, capture_seconds, bare_seconds = _measure_capture(scene, request, sampled, reporter)
    frames = captured.frames
    drawer, why = choose_drawer()
    drawer.draw(frames[0])  # uploads what does not change
    drawn = [_seconds(lambda: drawer.draw(frame)) for frame in _told(frames, "drawing", reporter)]
    compared = [frames[int(index)] for index in np.linspace(0, len(frames) - 1, REFERENCE_FRAMES)]
    reference = NumpyDrawer()
    plain = [_seconds(lambda: reference.draw(frame)) for frame in _told(compared, "reference", reporter)]
    signals = _seconds(lambda: list(draw_signals(captured, request, drawer))) / len(frames)
    drawer.close()
    return Measured(
        scene=name,
        vertices=len(frames[0].positions),
        triangles=len(frames[0].triangles),
        frames=len(frames),
        capture=capture_seconds,
        bare_loop=bare_seconds,
        drawing=statistics.median(drawn),
        reference=statistics.median(plain),
        reference_frames=len(compared),
        signals=signals,
        drawer=why or f"by the {drawer.name} drawer",
    )


def _measure_capture(scene, request, sampled, reporter) -> tuple[Capture, float, float]:
    """The capture, and seconds a frame of it and of the bare loop, by turns so that both meet the same machine."""
    ours, bare = [], []
    for _ in _told(range(REPEATS), "capture", reporter):
        bare.append(_seconds(lambda: bare_loop(scene, sampled)))
        began = time.perf_counter()
        captured = capture(scene, request)
        ours.append(time.perf_counter() - began)
    return captured, statistics.median(ours) / len(sampled), statistics.median(bare) / len(sampled)


def bare_loop(scene: bpy.types.Scene, sampled: np.ndarray) -> int:
    """The least that a capture must do: step the frames and read each mesh's positions once. Vertices read."""
    count = 0
    for frame in sampled:
        whole, subframe = split_frame(frame)
        scene.frame_set(whole, subframe=subframe)
        for instance in bpy.context.evaluated_depsgraph_get().object_instances:
            if instance.object.type == "MESH" and instance.show_self:
                vertices = instance.object.data.vertices
                positions = np.empty(len(vertices) * 3, np.float32)
                vertices.foreach_get("co", positions)
                count += len(vertices)
    return count


def colour_plainly(points: list, camera: Camera, scale: tracking.DepthScale) -> list:
    """:func:`shared.tracking.colour` as a Python loop over [x, y, z] lists; the same colours as lists."""
    window, matrix = camera.intrinsics, camera.world_to_camera.tolist()
    eye = camera.centre.tolist()
    colours = []
    for point in points:
        x, y, z = (row[0] * point[0] + row[1] * point[1] + row[2] * point[2] + row[3] for row in matrix[:3])
        red = (x / z * window.fx + window.cx) / window.width if z else 0.0
        green = (y / z * window.fy + window.cy) / window.height if z else 0.0
        distance = sum((a - b) ** 2 for a, b in zip(point, eye)) ** 0.5
        blue = min(max((1 / max(distance, 1e-9) - scale.low) / (scale.high - scale.low), 0.0), 1.0)
        seen = z > 0 and 0 <= red < 1 and 0 <= green < 1
        colours.append([red, green, blue] if seen else [0.0, 0.0, 0.0])
    return colours


def colouring_case() -> tuple[np.ndarray, Camera, tracking.DepthScale]:
    """10,000 points around a camera's view, f64 [10000,3]."""
    camera = Camera(Intrinsics(720, 480, 800.0, 800.0, 360.0, 240.0), np.eye(4))
    points = np.random.default_rng(0).uniform((-3, -2, 4), (3, 2, 8), (COLOURED_POINTS, 3))
    return points, camera, tracking.depth_scale(points, camera)


def _tell_colouring(reporter: Reporter) -> None:
    points, camera, scale = colouring_case()
    listed = points.tolist()
    fast = statistics.median(_seconds(lambda: tracking.colour(points, camera, scale)) for _ in range(20))
    plain = statistics.median(_seconds(lambda: colour_plainly(listed, camera, scale)) for _ in range(REPEATS))
    reporter.result(
        f"\nColouring {COLOURED_POINTS} points: {fast * 1000:.2f} ms, a plain Python loop {plain * 1000:.1f} ms ({plain / fast:.1f} x)",
        colouring=fast,
        colouring_plain=plain,
        colouring_ratio=plain / fast,
    )


def _tell(reporter: Reporter, figures: Measured) -> None:
    speedup, overhead = figures.reference / figures.drawing, figures.capture / figures.bare_loop
    reporter.result(
        f"\n{figures.scene}: {figures.vertices} vertices, {figures.triangles} triangles, {figures.frames} frames\n"
        f"  capture                   {figures.capture:8.4f}\n"
        f"  bare depsgraph loop       {figures.bare_loop:8.4f}   capture takes {overhead:.2f} x as long\n"
        f"  drawing                   {figures.drawing:8.4f}   ({figures.drawer})\n"
        f"  reference rasteriser      {figures.reference:8.4f}   drawing is {speedup:.1f} x faster ({figures.reference_frames} frames)\n"
        f"  drawing and colouring     {figures.signals:8.4f}   all signals of the take",
        **msgspec.structs.asdict(figures),
        capture_ratio=overhead,
        drawing_ratio=speedup,
    )


def _show_as_rendered(scene: bpy.types.Scene) -> None:
    """Viewport visibility and subdivision as in a render; the benchmark's file is never saved."""
    for thing in scene.objects:
        thing.hide_viewport = thing.hide_render
        for modifier in thing.modifiers:
            modifier.show_viewport = modifier.show_render
            if modifier.type in ("SUBSURF", "MULTIRES"):
                modifier.levels = modifier.render_levels


def _seconds(work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def _told(things, phase: str, reporter: Reporter):
    """The things one by one, with progress."""
    for step, thing in enumerate(things):
        reporter.progress(phase, step, len(things))
        yield thing
    reporter.progress(phase, len(things), len(things))
