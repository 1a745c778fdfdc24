"""The part of `das benchmark tracking` on size: time and memory of capture and drawing as triangles and frames grow."""

from __future__ import annotations

import statistics
import time
import tracemalloc
from collections import deque
from collections.abc import Sequence

import bpy
import msgspec

from ...shared.report import Reporter
from ...shared.request import GenerationRequest
from ..benchmark_scene import build_benchmark_scene
from ..capture.draw import Drawer, choose_drawer
from ..capture.geometry import capture
from ..capture.signals import draw_signals

SIZES = (10_000, 100_000, 1_000_000)
SHOTS = (9, 33)
REPEATS = 5
MEGABYTE = 1e6


class Sized(msgspec.Struct):
    """One size: seconds a frame (median of several runs over the shorter shot), and the peak of our arrays' memory in
    MB over shots of two lengths."""

    triangles: int
    capture: float
    drawing: float
    memory: list[float]

    @property
    def seconds(self) -> float:
        return self.capture + self.drawing


def tell_sizes(reporter: Reporter) -> None:
    """Measure all sizes and print them as a table."""
    drawer, _ = choose_drawer()
    measured = measure_sizes(SIZES, drawer, reporter)
    drawer.close()
    reporter.result(_table(measured), sizes=[msgspec.structs.asdict(each) for each in measured])


def measure_sizes(sizes: Sequence[int], drawer: Drawer, reporter: Reporter, repeats: int = REPEATS) -> list[Sized]:
    """The benchmark scene of so many triangles each, captured and drawn with all signals: by turns, so that all sizes
    meet the same machine."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scenes = [_scene_of(size) for size in sizes]
    seconds: list[list[tuple[float, float]]] = [[] for _ in sizes]
    for turn in range(repeats + 1):
        reporter.progress("sizes", turn, repeats + 1)
        for scene, runs in zip(scenes, seconds):
            runs.append(_run(scene, SHOTS[0], drawer))
    measured = []
    for size, scene, runs in zip(sizes, scenes, seconds):
        # the first run uploads and compiles
        captured, drawn = (statistics.median(each) / SHOTS[0] for each in zip(*runs[1:]))
        measured.append(Sized(size, captured, drawn, [_peak(scene, frames, drawer) for frames in SHOTS]))
    reporter.progress("sizes", repeats + 1, repeats + 1)
    return measured


def _scene_of(triangles: int) -> bpy.types.Scene:
    bpy.context.window.scene = bpy.data.scenes.new(f"{triangles} triangles")
    return build_benchmark_scene(triangles)


def _run(scene: bpy.types.Scene, frames: int, drawer: Drawer) -> tuple[float, float]:
    """Seconds of the capture and of drawing a shot of so many frames."""
    request = GenerationRequest(frames=frames, start=1, end=float(frames))
    began = time.perf_counter()
    with capture(scene, request) as captured:
        between = time.perf_counter()
        deque(draw_signals(captured, request, drawer), maxlen=0)
        return between - began, time.perf_counter() - between


def _peak(scene: bpy.types.Scene, frames: int, drawer: Drawer) -> float:
    """MB that numpy and Python held at most during a run; Blender's own memory is not counted."""
    tracemalloc.start()
    try:
        _run(scene, frames, drawer)
        return tracemalloc.get_traced_memory()[1] / MEGABYTE
    finally:
        tracemalloc.stop()


def _table(measured: list[Sized]) -> str:
    rows = ["\nSize against time (seconds a frame, median of 5) and memory (MB of arrays, shots of 9 and 33 frames)"]
    rows.append(f"  {'triangles':>10} {'capture':>9} {'drawing':>9} {'both':>9} {'to the last':>12} {'9 frames':>9} {'33 frames':>10}")
    for each, before in zip(measured, [None, *measured]):
        factor = f"{each.seconds / before.seconds:.1f} x" if before else ""
        rows.append(
            f"  {each.triangles:>10} {each.capture:>9.4f} {each.drawing:>9.4f} {each.seconds:>9.4f} {factor:>12}"
            f" {each.memory[0]:>9.0f} {each.memory[1]:>10.0f}"
        )
    return "\n".join(rows)
