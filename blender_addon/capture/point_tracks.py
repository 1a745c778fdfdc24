"""Point tracks: where points of the surface are on the screen in every frame, and whether they are seen there."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ...shared.camera import Camera, in_view, project
from ...shared.errors import SceneError
from ...shared.track_files import Tracks
from .anchors import Anchors, anchor, in_camera, rays
from .draw import Drawer
from .frames import GeometryFrame
from .geometry import Capture


class PointTracks:
    """Tracks that grow frame by frame, once :meth:`fix` has come to its end. ``queries`` f64 [N,3] are (t, y, x);
    ``objects`` u16 [N] is 0 where the query frame shows no surface.
    """

    def __init__(self, queries: np.ndarray, frames: int):
        count = len(queries)
        self.queries = queries
        self.objects = np.zeros(count, np.uint16)
        self.world = np.full((frames, count, 3), np.nan, np.float32)
        self.tracks = np.full((frames, count, 2), np.nan, np.float32)
        self.depth = np.full((frames, count), np.nan, np.float32)
        self.visibility = np.zeros((frames, count), bool)
        self._anchors: list[tuple[np.ndarray, Anchors]] = []

    def fix(self, captured: Capture, drawer: Drawer) -> Iterator[tuple[int, int]]:
        """Fix each point to the surface that it sees, a query frame at a time: how many are done, and of how many.

        SceneError where no point sees any surface.
        """
        times = np.unique(self.queries[:, 0]).astype(int)
        for done, time in enumerate(times, start=1):
            chosen = np.flatnonzero(self.queries[:, 0] == time)
            anchors = anchor(captured.frames[time], self.queries[chosen][:, [2, 1]], drawer)
            self._anchors.append((chosen, anchors))
            self.objects[chosen] = anchors.objects
            yield done, len(times)
        if not self.objects.any():
            raise SceneError(
                "None of the points lies on a surface.", "Choose points that the camera sees objects at, or a finer grid."
            )

    def add(self, index: int, frame: GeometryFrame, depth: np.ndarray) -> None:
        """The points in frame ``index``, of which ``depth`` f32 [H,W] is drawn."""
        for chosen, anchors in self._anchors:
            corners = anchors.corner_positions(frame)
            known = np.isfinite(corners).all(axis=(1, 2))
            chosen, corners = chosen[known], corners[known]
            world = np.einsum("ni,nik->nk", anchors.shares[known], corners)
            pixels, z = project(world, frame.camera)
            pixels[z <= 0] = np.nan
            self.world[index, chosen], self.tracks[index, chosen], self.depth[index, chosen] = world, pixels, z
            asked = self.queries[chosen, 0] == index
            self.visibility[index, chosen] = asked | _seen(pixels, corners, depth, frame.camera)

    def found(self, fps: float, size: tuple[int, int]) -> Tracks:
        """All that is known of them; ``size`` is the frames' width and height."""
        return Tracks(
            xy=self.tracks,
            visible=self.visibility,
            depth=self.depth,
            objects=self.objects,
            queries=self.queries.astype(np.float32),
            world=self.world,
            size=size,
            fps=fps,
        )


def _seen(pixels: np.ndarray, corners: np.ndarray, depth: np.ndarray, camera: Camera) -> np.ndarray:
    """bool [N]: points at pixels [N,2], in triangles [N,3,3] (world), that are in the window and hidden by nothing.

    A point is seen where one of the four pixels around it is as deep as the plane of its triangle, to the width of a
    pixel. So both an occluder and a surface that is not drawn at all, such as a culled back, make it unseen.
    """
    shown = in_view(*pixels.T, camera) & np.isfinite(pixels).all(axis=1)
    pixels, corners = pixels[shown], in_camera(corners[shown], camera)
    first, second, third = np.moveaxis(corners, 1, 0)
    normal = np.cross(second - first, third - first)
    around = np.floor(pixels - 0.5)[:, None] + [(0, 0), (1, 0), (0, 1), (1, 1)]
    columns, rows = around.clip(0, np.array(depth.shape)[::-1] - 1).astype(int).transpose(2, 0, 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # a plane seen from its side
        plane = np.einsum("nk,nk->n", normal, first)[:, None] / np.einsum("nik,nk->ni", rays(np.stack([columns, rows], -1) + 0.5, camera), normal)
        alike = np.abs(depth[rows, columns] - plane) <= np.abs(plane) / camera.intrinsics.fx
    shown[shown] = alike.any(axis=1)
    return shown
