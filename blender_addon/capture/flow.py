"""Forward flow: how far the surface that a pixel shows moves on the screen until the next frame."""

from __future__ import annotations

import msgspec
import numpy as np

from ...shared import tracking
from ...shared.camera import project
from .draw import Drawer
from .following import following_positions
from .frames import GeometryFrame
from .signals import SignalFrame


def forward_flow(frame: GeometryFrame, seen: SignalFrame, following: GeometryFrame, drawer: Drawer) -> np.ndarray:
    """f32 [H,W,2], pixels right and down, from ``frame``, whose signals are ``seen``, to ``following``.

    NaN where nothing is seen, and where it is not known where the surface goes or that is behind the camera; also
    of surface that is hidden or off screen by then. A tracked background turns with the camera.
    """
    positions, known = following_positions(frame, following)
    drawn = drawer.draw(msgspec.structs.replace(frame, rest=positions, tracked=known))
    solid = np.isfinite(seen.depth)
    background = seen.valid & ~solid
    drawn.rest[background] = tracking.background_rest(background, frame.camera, following.camera)
    found = np.flatnonzero((drawn.tracked & solid) | background)
    pixels, depth = project(drawn.rest.reshape(-1, 3)[found], following.camera)
    rows, columns = np.divmod(found, solid.shape[1])
    pixels -= np.stack([columns + 0.5, rows + 0.5], axis=1)
    pixels[depth <= 0] = np.nan
    flow = np.full((*solid.shape, 2), np.nan, np.float32)
    flow.reshape(-1, 2)[found] = pixels
    return flow
