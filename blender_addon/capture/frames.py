"""Captured frames, kept on disk: memory holds one frame at a time, however long the shot and heavy the scene."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import msgspec
import numpy as np

from ...shared.camera import Camera
from ...shared.errors import GenerationError

Key = tuple
ARRAYS = ("triangles", "rest", "tracked", "objects", "culled")


class Part(msgspec.Struct, frozen=True):
    """Rows ``start:stop`` of a frame's vertices belong to the instance ``key``. Equal keys and topology numbers in
    two frames mean the same vertices in the same order."""

    key: Key
    topology: int
    start: int
    stop: int


class Layout(msgspec.Struct):
    """What stays while the same instances have the same topologies and looks."""

    parts: list[Part]
    triangles: np.ndarray  # i32 [M,3]
    rest: np.ndarray  # f32 [V,3]
    tracked: np.ndarray  # bool [V]
    objects: np.ndarray  # u16 [V]
    culled: np.ndarray  # bool [M], not drawn where they show their back


class GeometryFrame(msgspec.Struct):
    """One sampled frame. ``rest`` is each vertex's world position in the first sampled frame; ``tracked`` is False
    where it has none (drawn black, hides what is behind). Arrays that do not change are shared between frames."""

    frame: float
    camera: Camera
    positions: np.ndarray  # f32 [V,3], world
    triangles: np.ndarray  # i32 [M,3]
    rest: np.ndarray  # f32 [V,3], world
    tracked: np.ndarray  # bool [V]
    objects: np.ndarray  # u16 [V], from 1
    parts: list[Part] = []


class FrameStore(Sequence[GeometryFrame]):
    """Frames in a folder of its own below ``parent`` (None: the system's temporary folder), gone after ``close``.

    Reading frame after frame hands out the same arrays for what did not change. GenerationError where the disk is full.
    """

    def __init__(self, parent: Path | None = None):
        with _disk_errors():
            self._folder = tempfile.TemporaryDirectory(prefix="das-capture-", dir=parent, ignore_cleanup_errors=True)
        self._entries: list[tuple[float, Camera, int]] = []
        self._parts: list[list[Part]] = []
        self._written: Layout | None = None
        self._held: dict[int, Layout] = {}

    def add(self, frame: float, camera: Camera, positions: np.ndarray, layout: Layout) -> None:
        with _disk_errors():
            if layout is not self._written:
                for name in ARRAYS:
                    np.save(self._layout_file(len(self._parts), name), getattr(layout, name))
                self._written = layout
                self._parts.append(layout.parts)
            np.save(self._file(len(self._entries)), positions)
        self._entries.append((frame, camera, len(self._parts) - 1))

    @property
    def cameras(self) -> list[Camera]:
        return [camera for _, camera, _ in self._entries]

    @property
    def sampled(self) -> list[float]:
        """The scene frames."""
        return [frame for frame, _, _ in self._entries]

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, index: int) -> GeometryFrame:
        index = range(len(self))[index]
        frame, camera, number = self._entries[index]
        layout, positions = self._layout(number), np.load(self._file(index))
        triangles = facing(positions, layout, camera) if layout.culled.any() else layout.triangles
        return GeometryFrame(frame, camera, positions, triangles, layout.rest, layout.tracked, layout.objects, layout.parts)

    def close(self) -> None:
        self._folder.cleanup()

    def _layout(self, number: int) -> Layout:
        """Read once; the last two are held, because flow looks at two frames."""
        if number not in self._held:
            arrays = {name: np.load(self._layout_file(number, name)) for name in ARRAYS}
            self._held = dict(list(self._held.items())[-1:])
            self._held[number] = Layout(self._parts[number], **arrays)
        return self._held[number]

    def _file(self, index: int) -> Path:
        return Path(self._folder.name) / f"positions-{index}.npy"

    def _layout_file(self, number: int, name: str) -> Path:
        return Path(self._folder.name) / f"{name}-{number}.npy"


@contextmanager
def _disk_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise GenerationError(f"The capture cannot be kept on disk: {error.strerror or error}.", "Free some space.") from error


def facing(positions: np.ndarray, layout: Layout, camera: Camera) -> np.ndarray:
    """The layout's triangles without those whose material shows no back and whose back the camera sees."""
    corners = positions[layout.triangles[layout.culled]].astype(np.float64)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    keep = ~layout.culled
    keep[layout.culled] = np.einsum("nk,nk->n", normals, camera.centre - corners[:, 0]) > 0
    return layout.triangles[keep]
