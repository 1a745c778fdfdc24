"""One generation from scene to strip, a step at a time.

The only place that knows the whole order. All of it runs on the main thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Literal

import bpy
import numpy as np

from ..shared import messages
from ..shared.camera import camera_path
from ..shared.errors import SceneError
from ..shared.generation import generate, reach_backend, told_in
from ..shared.points import query_points
from ..shared.request import GenerationRequest, check
from ..shared.stacks import Stack
from ..shared.take import SIGNAL_NAMES, Take, content_hash
from ..shared.timeline import sample_frames, video_fps
from .capture.draw import choose_drawer
from .capture.export import Exports
from .capture.first_frame import first_frame
from .capture.geometry import Capture, capture
from .capture.signals import draw_signals
from .images import BlenderImages
from .sequencer import GrowingStrip, colour_space
from .stepwise import Step, Stepwise, find_scene

Purpose = Literal["preview", "track", "generate"]
FRAMES_A_STEP = 8  # of signals.npz


class Job(Stepwise):
    """A scene's way to a take, and for the purpose

    ``preview``   to its tracking video as a strip, without a first frame;
    ``track``     to a take that can be generated from anywhere;
    ``generate``  to the finished video.

    ``strip_scene`` is where a strip grows, None for nowhere. ``patience`` is how long one step may wait for the
    backend. A job that is closed leaves its take cancelled.
    """

    what = "job"

    def __init__(
        self,
        scene: bpy.types.Scene,
        request: GenerationRequest,
        folder: Path,
        purpose: Purpose = "generate",
        *,
        strip_scene: bpy.types.Scene | None = None,
        tell: Callable[[Step], None] = lambda step: None,
        patience: float = 0.0,
    ):
        self.request = request
        self.folder = Path(folder)
        self.purpose = purpose
        self.take: Take | None = None
        self._scene = scene.session_uid
        self._strip_scene = strip_scene.session_uid if strip_scene else None
        self._patience = patience
        super().__init__(tell)

    @property
    def ready(self) -> str:
        """What is said at the end."""
        return f"{self.folder.name} is ready."

    def run(self) -> Take:
        """Step to the end."""
        self._run_to_end()
        return self.take

    # the order of things

    def _run(self) -> Iterator[None]:
        check(self.request)
        self.take = Take.create(self.folder, self.request, BlenderImages(), bpy.data.filepath)
        with told_in(self.take):
            signals = yield from self._prepare()
        if self.purpose == "generate":
            yield from self._generate(signals)

    def _prepare(self) -> Iterator[None]:
        """Everything that needs the scene. No step between capture and first frame: the user could edit it there."""
        self._report("capture", 0, self.request.frames)
        yield
        if "tracks" in self.request.write:
            query_points(self.request)  # a wrong file of points is said before anything is captured
        wants_picture, from_file = self.purpose != "preview", self.request.first_frame.source == "file"
        picture = self._first_frame() if wants_picture and from_file else None
        with self._timed("capture", self._capture) as captured:
            if wants_picture and not from_file:
                self._report("first frame", 0, 1)
                picture = self._timed("first frame", self._first_frame)
            yield
            stacks = yield from self._draw(captured)
            path = camera_path(captured.cameras, self._sampled(), self._video_fps())
        self.take.write_camera_path(path)
        if picture is not None:
            self.take.write_first_frame(picture)
        yield from self._write(stacks)
        self.take.save()
        if self.purpose == "generate":
            stacked = {name: stack.array() for name, stack in stacks.items()}
            return {**stacked, "first_frame": picture, "K": path.K, "world_to_camera": path.world_to_camera}

    def _capture(self) -> Capture:
        scene = self._find(self._scene)
        captured = capture(
            scene, self.request, progress=self._teller("capture"), cancelled=self._stopped, folder=self.take.folder
        )
        self.take.note(f"Captured {'in place' if captured.way == 'in place' else 'through a copy of the scene'}.")
        for sentence in captured.notes:
            self.take.note(sentence)
        self.take.record.versions["blender"] = bpy.app.version_string
        return captured

    def _first_frame(self) -> np.ndarray:
        return first_frame(self._find(self._scene), self.request, self.take.images)

    def _draw(self, captured: Capture) -> Iterator[None]:
        """The signals of all frames by name, on disk as they are drawn, and the files for other tools."""
        began = time.monotonic()
        drawer, why = choose_drawer()
        if why:
            self.take.note(why)
        strip = self._strip("tracking") if self.purpose == "preview" else None
        stacks: dict[str, Stack] = {}
        with closing(drawer), Exports(self.take, captured, self._video_fps()) as exports:
            for done, total in exports.begin():
                self._report("points", done, total)
                yield
                self._check_stop()
            for index, frame in draw_signals(captured, self.request, drawer, self._teller("tracking"), self._stopped):
                self.take.stack(stacks, {name: getattr(frame, name) for name in ("tracking", *SIGNAL_NAMES)})
                self.take.write_tracking_frame(index, frame.tracking)
                if strip:
                    strip.add(index)
                yield
                for _ in exports.add(index, frame):
                    yield
                self._check_stop()
            exports.finish()
        self.take.record.hashes["tracking"] = content_hash(stacks["tracking"])
        self.take.record.timings["tracking"] = time.monotonic() - began
        return stacks

    def _write(self, stacks: dict[str, Stack]) -> Iterator[None]:
        """What is written of the whole shot."""
        if "video" in self.request.write:
            self._report("lossless video", 0, self.request.frames)
            yield
            self._timed("lossless video", self._write_lossless)
        began = time.monotonic()
        for done, total in self.take.writing_signals(stacks):
            self._report("signals", done, total)
            if done % FRAMES_A_STEP == 0:
                yield
            self._check_stop()
        self.take.record.timings["signals"] = time.monotonic() - began

    def _write_lossless(self) -> None:
        def tell(step: int, total: int) -> None:
            self._report("lossless video", step, total)
            self._check_stop()

        files = [self.take.tracking_file(index) for index in range(self.request.frames)]
        BlenderImages().write_lossless(self.take.folder / "tracking.mkv", files, self._video_fps(), tell)

    def _generate(self, signals: dict[str, np.ndarray]) -> Iterator[None]:
        self._report("backend", 0, 1)
        yield
        with told_in(self.take):
            peer = yield from self._backend()
        with peer:
            strip = self._strip("frames")
            events = generate(self.take, peer, signals, patience=self._patience, cancelled=self._stopped)
            with closing(events):
                for event in events:
                    self._hear(event, strip)
                    yield

    def _backend(self) -> Iterator[None]:
        for peer in reach_backend("Blender"):
            self._check_stop()
            if peer is None:
                time.sleep(self._patience / 4)
                yield
        return peer

    def _hear(self, event: messages.Message | None, strip: GrowingStrip | None) -> None:
        if isinstance(event, messages.Progress):
            self._report(event.phase, event.step, event.total, event.eta)
        elif isinstance(event, messages.Frame) and strip:
            strip.add(event.index)

    # small things

    def _strip(self, folder: str) -> GrowingStrip | None:
        if self._strip_scene is None:
            return None
        scene = self._find(self._strip_scene)
        note = colour_space(scene)[1]
        if note:
            self.take.note(note)
        name = self.take.folder.name + (" tracking" if folder == "tracking" else "")
        return GrowingStrip(scene, self.take.folder / folder, self.request, name)

    def _find(self, uid: int) -> bpy.types.Scene:
        scene = find_scene(uid)
        if scene is None:
            raise SceneError("The scene was removed while it was worked on.", "Start again.")
        return scene

    def _sampled(self) -> np.ndarray:
        return sample_frames(self.request.start, self.request.end, self.request.frames)

    def _video_fps(self) -> float:
        request = self.request
        return video_fps(request.start, request.end, request.frames, request.scene_fps)

    def _timed(self, name: str, work: Callable):
        began = time.monotonic()
        made = work()
        self.take.record.timings[name] = time.monotonic() - began
        self._check_stop()
        return made
