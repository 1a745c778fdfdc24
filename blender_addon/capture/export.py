"""The files for other tools, written beside a take from the pass that draws its tracking video (docs/signals.md)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import numpy as np

from ...shared import exr, flo, png
from ...shared.points import is_grid, query_points
from ...shared.request import GenerationRequest
from ...shared.take import Take
from ...shared.track_files import encode_tracks
from .draw import Drawer, choose_drawer
from .flow import forward_flow
from .frames import GeometryFrame
from .geometry import Capture
from .point_tracks import PointTracks
from .signals import SignalFrame


class Exports:
    """What ``request.write`` names, but for the video, a frame after the other. Use it in ``with``: it draws itself.

    UsageError where the points cannot be had, SceneError where none lies on a surface.
    """

    def __init__(self, take: Take, captured: Capture, fps: float):
        self._take, self._captured, self._fps = take, captured, fps
        self._request: GenerationRequest = take.record.request
        self._drawer: Drawer | None = None
        self._tracks: PointTracks | None = None
        self._following: GeometryFrame | None = None

    def __enter__(self) -> Exports:
        if self._wants("flow", "tracks"):
            # One of its own: the other one keeps on the GPU what stays from frame to frame.
            self._drawer = choose_drawer()[0]
        return self

    def __exit__(self, *_) -> None:
        if self._drawer:
            self._drawer.close()

    def begin(self) -> Iterator[tuple[int, int]]:
        """Find the points to track, a query frame at a time: how many are done, and of how many."""
        if self._wants("tracks"):
            yield from self._fix_points()

    def add(self, index: int, seen: SignalFrame) -> Iterator[None]:
        """Each file of the next frame, whose signals are ``seen``."""
        makers: dict[str, tuple[str, Callable[[], bytes]]] = {
            "coordinates": ("exr", lambda: exr.encode(_coordinates(seen), "RGB")),
            "depth": ("exr", lambda: exr.encode(seen.depth[..., None], "Y")),
            "mattes": ("png", lambda: png.encode(seen.object)),
        }
        for name, (ending, make) in makers.items():
            if self._wants(name):
                self._take.write_file(f"{name}/{index + 1:04d}.{ending}", make())
                yield
        if self._wants("flow", "tracks"):
            yield from self._follow(index, seen)

    def finish(self) -> None:
        """What is known after the last frame."""
        if self._wants("mattes"):
            names = {number: name for number, name in enumerate(self._captured.object_names, start=1)}
            self._take.write_file("mattes/objects.json", json.dumps(names, indent=1, ensure_ascii=False).encode())
        if self._tracks:
            found = self._tracks.found(self._fps, (self._request.width, self._request.height))
            self._take.write_file("tracks.npz", encode_tracks(found))

    def _follow(self, index: int, seen: SignalFrame) -> Iterator[None]:
        """What needs the geometry: this frame's and, for flow, the next one's, which is read once."""
        frame = self._following or self._captured.frames[index]
        self._following = None
        if self._tracks:
            self._tracks.add(index, frame, seen.depth)
            yield
        if self._wants("flow") and index + 1 < len(self._captured.frames):
            self._following = self._captured.frames[index + 1]
            flow = forward_flow(frame, seen, self._following, self._drawer)
            self._take.write_file(f"flow/{index + 1:04d}.flo", flo.encode(flow))
            yield

    def _fix_points(self) -> Iterator[tuple[int, int]]:
        """Of a grid only the points on a surface; of chosen points all, so that they keep their numbers."""
        queries = query_points(self._request)
        self._tracks = PointTracks(queries, len(self._captured.frames))
        yield from self._tracks.fix(self._captured, self._drawer)
        missed = int((self._tracks.objects == 0).sum())
        if missed and is_grid(self._request.points):
            self._take.note(f"{missed} of {len(queries)} points of the grid see no surface in the first frame and are left out.")
            self._tracks = PointTracks(queries[self._tracks.objects > 0], len(self._captured.frames))
            yield from self._tracks.fix(self._captured, self._drawer)
        elif missed:
            self._take.note(f"{missed} of {len(queries)} points see no surface in their frame: they have object 0 and no track.")

    def _wants(self, *names: str) -> bool:
        return not set(names).isdisjoint(self._request.write)


def _coordinates(seen: SignalFrame) -> np.ndarray:
    """f32 [H,W,3]: first-frame positions, NaN where no surface is or where it is not known where it was."""
    known = seen.valid & np.isfinite(seen.depth)
    return np.where(known[..., None], seen.rest, np.float32(np.nan))
