"""Mesh to video: from the scene's own animation to a take, and from there to its video, a step at a time.

All of it runs on the main thread.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator
from contextlib import closing

import numpy as np

from ..shared.camera import camera_path
from ..shared.points import query_points
from ..shared.stacks import Stack
from ..shared.take import SIGNAL_NAMES, ContentHash
from ..shared.timeline import sample_frames, video_fps
from .capture.draw import choose_drawer
from .capture.export import Exports
from .capture.first_frame import rendering_first_frame
from .capture.geometry import Capture, capturing
from .capture.signals import draw_signals
from .images import BlenderImages
from .take_jobs import TakeJob


class Job(TakeJob):
    """:class:`TakeJob` of a scene whose surfaces are tracked. Its preview has no first frame and needs no backend; a
    repaint of the first frame does."""

    def _from_scene(self) -> Iterator[None]:
        """Capture and first frame follow each other at once: the user could edit the scene in between."""
        self._report("capture", 0, self.request.frames)
        yield
        if "tracks" in self.request.write:
            query_points(self.request)  # a wrong file of points is said before anything is captured
        wants_picture, from_file = self.purpose != "preview", self.request.first_frame.source == "file"
        picture = (yield from self._first_frame()) if wants_picture and from_file else None
        with (yield from self._timed("capture", self._capture())) as captured:
            if wants_picture and not from_file:
                self._report("first frame", 0, 1)
                picture = yield from self._timed("first frame", self._first_frame())
            yield
            stacks = yield from self._draw(captured)
            path = camera_path(captured.cameras, self._sampled(), self._video_fps())
        self.take.write_camera_path(path)
        self.take.write_objects(captured.object_names)
        if picture is not None:
            self.take.write_first_frame(picture)
        yield from self._write(stacks)
        self.take.save()
        if self.purpose == "preview":
            self._show_tracking()
            return None, None
        repaints = bool(self.request.repaint.model)
        if not repaints and self.purpose != "generate":
            return None, None
        stacked = {name: stack.array() for name, stack in stacks.items()}
        signals = {**stacked, "first_frame": picture, "K": path.K, "world_to_camera": path.world_to_camera}
        inputs = {"first_frame": picture, "depth": np.array(stacked["depth"][0]), "tracking": stacked["tracking"]}
        return (inputs if repaints else None), signals

    def _capture(self) -> Generator[None, None, Capture]:
        scene = self._find(self._scene)
        captured = yield from self._rendered(
            capturing(scene, self.request, progress=self._teller("capture"), cancelled=self._stopped, folder=self.take.folder)
        )
        self.take.note(f"Captured {'in place' if captured.way == 'in place' else 'through a copy of the scene'}.")
        for sentence in captured.notes:
            self.take.note(sentence)
        return captured

    def _first_frame(self) -> Generator[None, None, np.ndarray]:
        return (yield from self._rendered(rendering_first_frame(self._find(self._scene), self.request, self.take.images)))

    def _draw(self, captured: Capture) -> Iterator[None]:
        """The signals of all frames by name, on disk as they are drawn, and the files for other tools."""
        began = time.monotonic()
        drawer, why = choose_drawer()
        if why:
            self.take.note(why)
        strip = self._strip("tracking") if self.purpose == "preview" else None
        stacks: dict[str, Stack] = {}
        hashing = ContentHash(np.uint8, (self.request.frames, self.request.height, self.request.width, 3))
        with closing(drawer), Exports(self.take, captured, self._video_fps()) as exports:
            for done, total in exports.begin():
                self._report("points", done, total)
                yield
                self._check_stop()
            for index, frame in draw_signals(captured, self.request, drawer, self._teller("tracking"), self._stopped):
                yield
                self.take.stack(stacks, {name: getattr(frame, name) for name in ("tracking", *SIGNAL_NAMES)})
                hashing.add(frame.tracking)
                yield
                self.take.write_tracking_frame(index, frame.tracking)
                if strip:
                    strip.add(index)
                yield
                for _ in exports.add(index, frame):
                    yield
                self._check_stop()
            exports.finish()
        self.take.record.hashes["tracking"] = hashing.text
        self.take.record.timings["tracking"] = time.monotonic() - began
        return stacks

    def _write(self, stacks: dict[str, Stack]) -> Iterator[None]:
        """What is written of the whole shot."""
        if "video" in self.request.write:
            self._report("lossless video", 0, self.request.frames)
            yield
            yield from self._timed("lossless video", self._write_lossless())
        began = time.monotonic()
        for done, total in self.take.writing_signals(stacks):
            self._report("signals", done, total)
            yield
            self._check_stop()
        self.take.record.timings["signals"] = time.monotonic() - began

    def _write_lossless(self) -> Iterator[None]:
        def tell(step: int, total: int) -> None:
            self._report("lossless video", step, total)
            self._check_stop()

        files = [self.take.tracking_file(index) for index in range(self.request.frames)]
        yield from self._rendered(BlenderImages().writing_lossless(self.take.folder / "tracking.mkv", files, self._video_fps(), tell))

    def _sampled(self) -> np.ndarray:
        return sample_frames(self.request.start, self.request.end, self.request.frames)

    def _video_fps(self) -> float:
        request = self.request
        return video_fps(request.start, request.end, request.frames, request.scene_fps)
