"""Measuring a captured shot for the pre-flight, a frame at a time: at most two are held."""

from __future__ import annotations

import bpy
import msgspec
import numpy as np

from ..shared import tracking
from ..shared.camera import Camera, from_camera, in_view, project, shown_pixels
from ..shared.measurements import FrameMeasure
from ..shared.request import GenerationRequest
from ..shared.timeline import split_frame
from .capture.draw import Drawer, Drawn
from .capture.following import following_positions
from .capture.frames import GeometryFrame
from .capture.geometry import Capture

MANY_PIXELS = 100_000  # beyond, every fourth pixel is looked at
NEARER = 1e-3  # of the near clipping distance: what lies before it is drawn too, to see what it cuts
ANY_DEPTH = 10.0  # of a view that shows nothing


class _View(msgspec.Struct):
    """A frame as the camera shows it, and what its clipping distances cut: nothing outside of ``shown``."""

    frame: GeometryFrame
    drawn: Drawn
    shown: np.ndarray  # bool [H,W]: a surface
    cut_near: np.ndarray  # bool [H,W]
    cut_far: np.ndarray  # bool [H,W]
    middle: float  # median depth
    nearest: float = np.inf
    farthest: float = 0.0


class Measurer:
    """Frames of one capture, one after the other, to FrameMeasures.

    ``first`` is what the first frame shows; ``nearest`` and ``farthest`` are the depths that clipping has cut so far.
    """

    def __init__(self, scene: bpy.types.Scene, captured: Capture, request: GenerationRequest, drawer: Drawer):
        self.captured, self.request, self.drawer = captured, request, drawer
        self.camera_names = [camera_name(scene, frame) for frame in captured.sampled]
        self.window = shown_pixels(captured.cameras[0])
        self.thin = 2 if self.window.size > MANY_PIXELS else 1
        self.nearest, self.farthest = np.inf, 0.0
        self.first: Drawn | None = None
        self._before: tuple[GeometryFrame, float] | None = None

    @property
    def depth_range(self) -> tuple[float, float]:
        """2nd and 98th percentile of depth in the first frame; (0, 0) where it shows nothing."""
        depth = self.first.depth[np.isfinite(self.first.depth)]
        return tuple(np.percentile(depth, (2, 98)).tolist()) if len(depth) else (0.0, 0.0)

    def measure(self, index: int) -> FrameMeasure:
        """The numbers of sampled frame ``index``; called for 0, 1, 2 and so on."""
        view = self._look(self.captured.frames[index])
        if self.first is None:
            self.first = view.drawn
        self.nearest, self.farthest = min(self.nearest, view.nearest), max(self.farthest, view.farthest)
        measure = FrameMeasure(
            frame=float(self.captured.sampled[index]),
            camera=self.camera_names[index],
            near=float(view.frame.camera.near),
            far=float(view.frame.camera.far),
            cut_near=self._share(view.cut_near),
            cut_far=self._share(view.cut_far),
            **self._shares(view),
            **self._motion(view),
        )
        self._before = view.frame, view.middle
        return measure

    def _look(self, frame: GeometryFrame) -> _View:
        """Drawn without clipping; where the near end cuts anything away, drawn again as it is."""
        camera = frame.camera
        free = msgspec.structs.replace(camera, near=camera.near * NEARER)
        drawn = self.drawer.draw(msgspec.structs.replace(frame, camera=free))
        cut_near = (drawn.depth < camera.near) & self.window
        nearest = float(drawn.depth[cut_near].min()) if cut_near.any() else np.inf
        if cut_near.any():
            drawn = self.drawer.draw(frame)
        surface = np.isfinite(drawn.depth) & self.window
        cut_far = surface & (drawn.depth > camera.far)
        farthest = float(drawn.depth[cut_far].max()) if cut_far.any() else 0.0
        shown = surface & ~cut_far
        drawn.depth[~shown], drawn.tracked[~shown] = np.inf, False
        middle = float(np.median(drawn.depth[shown])) if shown.any() else ANY_DEPTH
        return _View(frame, drawn, shown, cut_near, cut_far, middle, nearest, farthest)

    def _share(self, mask: np.ndarray) -> float:
        return float(mask.sum() / max(self.window.sum(), 1))

    def _shares(self, view: _View) -> dict[str, float]:
        """What the first frame says of the surface that is seen now."""
        camera = self.captured.cameras[0]
        thinned = (slice(None, None, self.thin),) * 2
        of, tracked, shown = self.window[thinned].sum() or 1, view.drawn.tracked[thinned], view.shown[thinned]
        rest = view.drawn.rest[thinned][tracked]
        seen = _in_window(rest, camera)
        hidden = tracking.hidden_in_first_frame(rest, self.first.depth, camera) & seen
        coloured, off_screen = seen.sum(), (~seen).sum()
        if self.request.hidden == "black":
            coloured -= hidden.sum()
        if self.request.background == "world":
            sky = _in_window(tracking.background_rest(~view.shown & self.window, view.frame.camera, camera), camera)
            coloured += sky.sum() / self.thin**2
            off_screen += (~sky).sum() / self.thin**2
        return {
            "surface": float(shown.sum() / of),
            "tracked": float(coloured / of),
            "hidden": float(hidden.sum() / of),
            "off_screen": float(off_screen / of),
            "lost": float((shown & ~tracked).sum() / of),
        }

    def _motion(self, view: _View) -> dict:
        """How far what is seen has moved since the frame before, in pixels, and the camera's part of it."""
        if self._before is None:
            return {}
        before, middle = self._before
        found = {"view_motion": view_motion(before.camera, view.frame.camera, middle)}
        positions, known = following_positions(view.frame, before)
        was = self.drawer.draw(msgspec.structs.replace(view.frame, rest=positions, tracked=known))
        followed = np.zeros_like(was.tracked)
        followed[:: self.thin, :: self.thin] = True
        followed &= was.tracked & view.shown
        rows, columns = np.nonzero(followed)
        pixels, depth = project(was.rest[rows, columns], before.camera)
        length = np.hypot(pixels[:, 0] - columns - 0.5, pixels[:, 1] - rows - 0.5)[depth > before.camera.near]
        if not len(length):
            return found
        at = np.flatnonzero(depth > before.camera.near)[length.argmax()]
        number = int(view.drawn.objects[rows[at], columns[at]])
        return found | {
            "motion": float(np.percentile(length, 99)),
            "fastest": float(length.max()),
            "fastest_at": (int(columns[at]), int(rows[at])),
            "fastest_object": self.captured.object_names[number - 1] if number else "",
        }


def _in_window(rest: np.ndarray, camera: Camera) -> np.ndarray:
    """bool [N]: does the camera see in this direction?"""
    across, down, depth = from_camera(rest, camera)[1]
    inverse = 1 / np.where(depth > 1e-12, depth, 1)
    return (depth > 1e-12) & in_view(across * inverse, down * inverse, camera)


def view_motion(before: Camera, camera: Camera, depth: float) -> float:
    """Mean motion, in pixels, of nine still points over the window at ``depth``; the window's width where one passes
    behind the camera."""
    window = before.intrinsics
    across, down = np.meshgrid(np.array([1, 3, 5]) / 6 * window.width, np.array([1, 3, 5]) / 6 * window.height)
    pixels = np.stack([across.ravel(), down.ravel(), np.ones(9)], axis=1)
    points = depth * pixels @ np.linalg.inv(window.matrix).T
    pose = np.linalg.inv(before.world_to_camera)
    moved, now = project(points @ pose[:3, :3].T + pose[:3, 3], camera)
    lengths = np.where(now > 0, np.hypot(*(moved - pixels[:, :2]).T), window.width)
    return float(np.minimum(lengths, window.width).mean())


def camera_name(scene: bpy.types.Scene, frame: float) -> str:
    """The camera that Blender takes at a frame: of the last marker with one, of the first before any, or the scene's."""
    whole, _ = split_frame(frame)
    bound = sorted((marker.frame, marker.camera.name) for marker in scene.timeline_markers if marker.camera and not marker.camera.hide_render)
    past = [name for at, name in bound if at <= whole]
    if past or bound:
        return past[-1] if past else bound[0][1]
    return scene.camera.name if scene.camera else ""
