"""Drawing a captured frame: which surface point each pixel shows. Two ways that agree: the gpu module, and numpy."""

from __future__ import annotations

import functools
import subprocess
import sys
from pathlib import Path
from typing import Protocol

import bpy
import msgspec
import numpy as np

from ...shared.rasterize import rasterize
from . import gpu_start
from .frames import GeometryFrame

PROBE_SECONDS = 120
NO_GPU = "Drawn by numpy on the CPU, because no GPU drawing (EGL) works here without a window."


class Drawn(msgspec.Struct):
    """What a frame shows at each pixel centre of the window; nothing where depth is inf."""

    rest: np.ndarray  # f32 [H,W,3], world position in the first frame; 0 where not tracked
    tracked: np.ndarray  # bool [H,W]
    objects: np.ndarray  # u16 [H,W], 0 where nothing is
    depth: np.ndarray  # f32 [H,W], camera z


class Drawer(Protocol):
    """Draws frames of one capture, one after the other. ``close`` frees what it holds."""

    name: str

    def draw(self, frame: GeometryFrame) -> Drawn: ...

    def close(self) -> None: ...


class NumpyDrawer:
    """By :func:`shared.rasterize.rasterize`."""

    name = "numpy"

    def draw(self, frame: GeometryFrame) -> Drawn:
        attributes = np.concatenate([frame.rest, frame.tracked[:, None]], axis=1)
        raster = rasterize(frame.positions, frame.triangles, attributes, frame.camera)
        drawn = raster.triangle >= 0
        objects = np.zeros(drawn.shape, np.uint16)
        objects[drawn] = frame.objects[frame.triangles[raster.triangle[drawn], 0]]
        rest, tracked = raster.attributes[..., :3], raster.attributes[..., 3] > 0.999
        rest[~tracked] = 0
        return Drawn(rest, tracked, objects, raster.depth)

    def close(self) -> None:
        pass


def choose_drawer() -> tuple[Drawer, str]:
    """The fast drawer where it works, else the numpy one and the sentence that says so."""
    if not gpu_works():
        return NumpyDrawer(), NO_GPU
    from .gpu_draw import GpuDrawer

    return GpuDrawer(), ""


@functools.cache
def gpu_works() -> bool:
    """Does the gpu module draw here? Asked once a session, in a process of its own, because it may die of it."""
    if not bpy.app.background:
        return True
    try:
        probe = subprocess.run(_probe_command(), capture_output=True, text=True, timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        return False
    return probe.returncode == 0 and gpu_start.ANSWER in probe.stdout


def _probe_command() -> list[str]:
    program = str(Path(gpu_start.__file__).resolve())
    if bpy.app.module:  # bpy imported by a Python
        return [sys.executable, program]
    return [bpy.app.binary_path, "--background", "--factory-startup", "--python-exit-code", "1", "--python", program]
