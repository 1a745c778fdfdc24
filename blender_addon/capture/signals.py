"""The tracking video and what else engines may use, drawn frame by frame from a capture."""

from __future__ import annotations

from typing import Callable, Iterator

import msgspec
import numpy as np

from ...shared import tracking
from ...shared.camera import Camera, shown_pixels
from ...shared.errors import Cancelled, SceneError
from ...shared.request import GenerationRequest
from .draw import Drawer, Drawn
from .geometry import Capture


class SignalFrame(msgspec.Struct):
    """One frame of DESIGN's signals. ``valid`` is where a surface is whose place in the first frame is known, black
    ones too: off screen or behind the camera in the first frame or, with ``hidden = black``, hidden there."""

    tracking: np.ndarray  # u8 [H,W,3]
    valid: np.ndarray  # bool [H,W]
    rest: np.ndarray  # f32 [H,W,3], world
    object: np.ndarray  # u16 [H,W], 0 where nothing is
    depth: np.ndarray  # f32 [H,W], camera z, inf where nothing is


def draw_signals(
    capture: Capture,
    request: GenerationRequest,
    drawer: Drawer,
    progress: Callable[[int, int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Iterator[tuple[int, SignalFrame]]:
    """(index, SignalFrame) of every captured frame, one in memory at a time.

    SceneError where the first frame shows no surface that can be followed; Cancelled where ``cancelled()`` says so.
    """
    painter = None
    for index, frame in enumerate(capture.frames):
        if cancelled and cancelled():
            raise Cancelled("The tracking video was cancelled.")
        drawn = clip_to_view(drawer.draw(frame), frame.camera)
        painter = painter or _Painter(drawn, capture, request)
        yield index, painter.paint(drawn, frame.camera)
        if progress:
            progress(index + 1, len(capture.frames))


def clip_to_view(drawn: Drawn, camera: Camera) -> Drawn:
    """Nothing is seen beyond the camera's far end, nor in a padded window's margins."""
    nothing = np.isfinite(drawn.depth) & (drawn.depth > camera.far)
    if camera.visible:
        nothing |= ~shown_pixels(camera)
    if nothing.any():
        drawn.depth[nothing] = np.inf
        drawn.rest[nothing] = 0
        drawn.objects[nothing] = 0
        drawn.tracked[nothing] = False
    return drawn


def nothing_seen() -> SceneError:
    return SceneError(
        "The camera sees no visible geometry in the first frame.",
        "Move the camera or the objects into view, or choose a range that begins where they are.",
    )


class _Painter:
    """Knows the first frame: its camera, its depth and the scale of blue."""

    def __init__(self, first: Drawn, capture: Capture, request: GenerationRequest):
        self.camera = capture.cameras[0]
        self.shows_world = request.background == "world"
        self.first_depth = first.depth.copy() if request.hidden == "black" else None
        visible = first.rest[first.tracked]
        if not len(visible):
            raise nothing_seen()
        vertices = capture.frames[0].rest if request.percentiles == "vertices" else visible
        self.scale = tracking.depth_scale(vertices, self.camera)

    def paint(self, drawn: Drawn, camera: Camera) -> SignalFrame:
        picture = tracking.tracking_frame(drawn.rest, drawn.tracked, self.camera, self.scale)
        if self.shows_world:
            self._paint_world(picture, drawn, camera)
        if self.first_depth is not None:
            surface = np.flatnonzero(drawn.tracked)
            hidden = tracking.hidden_in_first_frame(drawn.rest[drawn.tracked], self.first_depth, self.camera)
            picture.reshape(-1, 3)[surface[hidden]] = 0
        return SignalFrame(picture, drawn.tracked, drawn.rest, drawn.objects, drawn.depth)

    def _paint_world(self, picture: np.ndarray, drawn: Drawn, camera: Camera) -> None:
        """Where no surface is, the background gets the colours of a sphere at infinity."""
        empty = ~np.isfinite(drawn.depth) & shown_pixels(camera)
        rest = tracking.background_rest(empty, camera, self.camera)
        picture[empty] = tracking.quantise(tracking.background_colour(rest, self.camera))
        drawn.rest[empty], drawn.tracked[empty] = rest, True
