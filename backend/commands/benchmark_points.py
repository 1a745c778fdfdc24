"""`das benchmark points`: the point rasteriser beside rectangles drawn one by one with PIL, on one picture's points.

345,600 points at 720x480, 3x3 pixels each, a camera move away from where they were taken. All by turns in one run, medians.
It only measures: a slow machine is no error.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import time
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

from ...shared import camera_motion
from ...shared.report import Reporter
from ..tasks.point_cloud import pixel_centres, project, unproject
from ..tasks.point_raster import draw_points
from ..tasks.source import usual_lens
from ..tasks.take import OWN_PIXEL

SIZE = (720, 480)
SQUARE = (3, 3)
REPEATS = 5
PLAIN, AS_TASKS = "rectangles by PIL", "numpy, as tasks draw"
Points = tuple[np.ndarray, np.ndarray, np.ndarray]


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    points = picture_points()
    routes = {PLAIN: lambda: paint_with_pil(*points)} | {
        name: lambda device=device: draw_points(*points, SIZE, SQUARE, device=device).picture for name, device in devices().items()
    }
    routes[AS_TASKS] = lambda: draw_points(*points, SIZE, SQUARE, own=OWN_PIXEL).picture
    seconds: dict[str, list[float]] = {name: [] for name in routes}
    pictures = {}
    for turn in range(-1, REPEATS):  # the first turn warms up
        for name, draw in routes.items():
            pictures[name], spent = _timed(draw)
            seconds[name] += [spent] if turn >= 0 else []
        reporter.progress("points", turn + 1, REPEATS)
    _tell(reporter, len(points[1]), {name: statistics.median(times) for name, times in seconds.items()}, pictures)
    return 0


def _tell(reporter: Reporter, count: int, medians: dict[str, float], pictures: dict[str, np.ndarray]) -> None:
    reporter.result(f"{count:,} points of {SQUARE[0]}x{SQUARE[1]} pixels, {SIZE[0]}x{SIZE[1]}: seconds a frame, median of {REPEATS}")
    for name, median in medians.items():
        same = None if name == AS_TASKS else bool((pictures[name] == pictures[PLAIN]).all())
        words = {True: "the same pixels", False: "OTHER PIXELS", None: "each point on top in its own pixel"}
        ratio = medians[PLAIN] / median
        reporter.result(f"  {name:<20} {median:8.4f}   {ratio:6.1f} x   {words[same]}", route=name, seconds=median, ratio=ratio, same=same)
    if importlib.util.find_spec("torch") is None:
        reporter.note("torch is not installed here: its routes need the model's environment.")


def devices() -> dict[str, str | None]:
    """The routes of draw_points that this Python has: name to its ``device``."""
    found: dict[str, str | None] = {"numpy": None}
    if importlib.util.find_spec("torch") is not None:
        import torch

        found["torch, CPU"] = "cpu"
        if torch.cuda.is_available():
            found[f"torch, {torch.cuda.get_device_name()}"] = "cuda"
    return found


def picture_points() -> Points:
    """Every pixel of a hilly picture, seen by a camera that has moved: pixels, camera z, colours."""
    xy = pixel_centres(SIZE)
    z = 5 + np.sin(xy[:, 0] / 40) + np.cos(xy[:, 1] / 30) + 3 * (np.hypot(*(xy - np.array(SIZE) / 2).T) > SIZE[1] / 4)
    K = usual_lens(SIZE)
    positions = unproject(xy, z, K)
    colours = np.random.default_rng(0).integers(0, 256, (len(z), 3), np.uint8)
    return *project(positions, K, camera_motion.motion("trans 0.3 0.1 -0.5; rot y 4", 2)[-1]), colours


def paint_with_pil(xy: np.ndarray, z: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """One rectangle after another, from far to near: u8 [H,W,3]."""
    picture = Image.new("RGB", SIZE)
    draw = ImageDraw.Draw(picture)
    order = np.argsort(-z.astype(np.float32), kind="stable")
    across, down = SQUARE[0] // 2, SQUARE[1] // 2
    for (x, y), colour in zip(np.floor(xy[order]).astype(int).tolist(), map(tuple, colours[order].tolist())):
        draw.rectangle((x - across, y - down, x + across, y + down), fill=colour)
    return np.asarray(picture)


def _timed(work: Callable[[], np.ndarray]) -> tuple[np.ndarray, float]:
    began = time.perf_counter()
    made = work()
    return made, time.perf_counter() - began
