"""From a scene to a take, and from there to its video, a step at a time: what all tasks share.

The only place that knows the whole order. All of it runs on the main thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import Literal

import bpy
import numpy as np
from bpy.app.translations import pgettext_iface as iface_

from ..shared import messages
from ..shared.errors import Cancelled, DasError, SceneError
from ..shared.generation import Left, generate, reach_backend, told_in
from ..shared.preparation import prepare
from ..shared.request import GenerationRequest, check
from ..shared.take import Take
from ..shared.take_copy import copy_take
from .image_view import show_in_image_editors
from .images import BlenderImages
from .live_preview import LivePreview
from .render_job import Made
from .sequencer import GrowingStrip, colour_space
from .stepwise import Step, Stepwise, find_scene

SECONDS_BETWEEN_GROWTHS = 0.5
Purpose = Literal["preview", "track", "generate"]
Arrays = Mapping[str, np.ndarray]


class TakeJob(Stepwise):
    """A scene's way to a take, and for the purpose

    ``preview``   to its tracking video as a strip;
    ``track``     to a take that can be generated from anywhere;
    ``generate``  to the finished video.

    ``strip_scene`` is where a strip grows, None for nowhere. ``saved`` hears of each frame's file that stands. ``patience`` is
    how long one step may wait for the backend. ``siblings`` are jobs before it that differ in their seed alone: the first
    that is prepared shares what was captured. A job that is closed leaves its take cancelled. ``preview`` is the video so far,
    while it is denoised.
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
        saved: Callable[[Path], None] = lambda file: None,
        patience: float = 0.0,
        siblings: Sequence[TakeJob] = (),
    ):
        self.request = request
        self.folder = Path(folder)
        self.purpose = purpose
        self.take: Take | None = None
        self._scene = scene.session_uid
        self._strip_scene = strip_scene.session_uid if strip_scene else None
        self._patience = patience
        self._saved = saved
        self._siblings = list(siblings)
        self.preview: LivePreview | None = None
        self.prepared = False  # its take has all that an engine needs
        self._captured = self._generating = self._leaving = self._keeping = self._accepted = False
        super().__init__(tell)

    @property
    def ready(self) -> str:
        """What is said at the end."""
        return iface_("{} is ready.").format(self.folder.name)

    @property
    def candidates(self) -> list[Path]:
        """The repainted first frames to choose from."""
        return sorted((self.folder / "candidates").glob("*.png"))

    @property
    def needs_scene(self) -> bool:
        return not self._captured

    @property
    def holds_others(self) -> bool:
        """Until the backend has it, which keeps them in their order."""
        return not self._accepted

    def close(self) -> None:
        super().close()
        if self.take is None:  # it never began
            with suppress(OSError):
                self.folder.rmdir()

    def leave(self) -> None:
        """End at once. What the backend generates goes on there, and the take can be resumed."""
        self._leaving = True
        if self._generating and not self.renders:
            with suppress(Left, DasError):
                self._run_to_end()
        else:
            self.close()

    def keep_preview(self) -> None:
        """Stop the generation, and make the live preview the take's frames."""
        self._keeping = True
        self.cancel()

    def run(self) -> Take:
        """Step to the end."""
        self._run_to_end()
        return self.take

    # the order of things

    def _run(self) -> Iterator[None]:
        check(self.request)
        shared = next((job.take for job in self._siblings if job.prepared and job.take.tracking_file(0).exists()), None)
        self._siblings.clear()
        if shared:
            self.take = copy_take(shared, self.folder, self.request)
        else:
            self.take = Take.create(self.folder, self.request, BlenderImages(), bpy.data.filepath)
        with told_in(self.take):
            self.take.record.versions["blender"] = bpy.app.version_string
            inputs, signals = (None, (yield from self._read())) if shared else (yield from self._from_scene())
        self._captured = True
        if inputs or self.purpose == "generate":
            yield from self._by_backend(inputs, signals)

    def _from_scene(self) -> Iterator[None]:
        """Everything that needs the scene: the inputs of a task for the backend to prepare the take from, or None where it
        is prepared; and the signals that engines get, or None where they are read from the take."""
        raise NotImplementedError

    def _read(self) -> Iterator[None]:
        """The take's signals, a frame of one a step."""
        signals: dict[str, np.ndarray] = {}
        for done, total in self.take.reading_signals(signals):
            self._report("read", done, total)
            yield
            self._check_stop()
        return signals

    def _by_backend(self, inputs: Arrays | None, signals: dict[str, np.ndarray] | None) -> Iterator[None]:
        self._report("backend", 0, 1)
        yield
        with told_in(self.take):
            peer = yield from self._backend()
        with peer:
            if inputs:
                yield from self._prepare(peer, inputs)
                if signals:
                    signals["first_frame"] = self.take.read_first_frame()
            self.prepared = True
            if self.purpose == "generate":
                yield from self._generate(peer, signals)

    def _generate(self, peer, signals: dict[str, np.ndarray] | None) -> Iterator[None]:
        """The backend's frames, with a live preview below them until they have all come."""
        strip, self._generating = self._strip("frames"), True
        self.take.images = BlenderImages(self._teller("video"), self._rendered)
        self.preview = LivePreview(self.take.folder, self.request, find_scene(self._strip_scene))
        try:
            yield from self._follow(generate(self.take, peer, signals, patience=self._patience, cancelled=self._stopped), strip)
        except Cancelled:
            if not (self._keeping and self.preview.pictures is not None):
                raise
            yield from self._keep(strip)
        finally:
            self._generating = False
            if strip:
                strip.show()
            self.preview.end(keep_strip=self._leaving)

    def _keep(self, strip: GrowingStrip | None) -> Iterator[None]:
        """The live preview becomes the frames that have not come."""
        self._stop = False  # it was the generation that was to end
        with told_in(self.take):
            for index in self.take.missing_frames():
                self.take.write_frame(index, self.preview.frame(index))
                if strip:
                    strip.add(index)
                self._report("live preview", index + 1, self.request.frames)
                yield
            self.take.note(f"Stopped early: frames are the live preview's, made larger from {self.preview.size}.")
            yield from self.take.writing_video()
            self.take.set_state("done")

    def _prepare(self, peer, inputs: Arrays) -> Iterator[None]:
        began = time.monotonic()
        yield from self._follow(prepare(self.take, peer, inputs, patience=self._patience, cancelled=self._stopped))
        self.take.record.timings["preparation"] = time.monotonic() - began
        if self.purpose == "preview" and (strip := self._strip("tracking")):
            strip.show(range(self.request.frames))
        if self.purpose == "preview":
            self._show_tracking()

    def _follow(self, events: Iterator[messages.Message | None], strip: GrowingStrip | None = None) -> Iterator[None]:
        with closing(events):
            for event in events:
                self.waits = event is None
                self._hear(event, strip)
                if self.preview:
                    self.preview.play()
                yield

    def _backend(self) -> Iterator[None]:
        for peer in reach_backend("Blender"):
            self._check_stop()
            self.waits = peer is None
            if peer is None:
                time.sleep(self._patience / 4)
                yield
        return peer

    def _hear(self, event: messages.Message | None, strip: GrowingStrip | None) -> None:
        self._accepted = self._accepted or event is not None
        if isinstance(event, messages.Progress):
            self._report(event.phase, event.step, event.total, event.eta)
        elif isinstance(event, messages.Frame):
            self._saved(self.take.frame_file(event.index))
            if strip:
                strip.add(event.index)
        elif isinstance(event, messages.Preview):
            self.preview.show(event.array)

    # small things

    def _strip(self, folder: str) -> GrowingStrip | None:
        if self._strip_scene is None:
            return None
        scene = self._find(self._strip_scene)
        note = colour_space(scene)[1]
        if note:
            self.take.note(note)
        name = self.take.folder.name + (" tracking" if folder == "tracking" else "")
        return GrowingStrip(scene, self.take.folder / folder, self.request, name, SECONDS_BETWEEN_GROWTHS)

    def _show_tracking(self) -> None:
        show_in_image_editors(self.take.folder / "tracking", f"{self.take.folder.name} tracking", self.request)

    def _stopped(self) -> bool:
        if self._leaving:
            raise Left
        return self._stop

    def _find(self, uid: int) -> bpy.types.Scene:
        scene = find_scene(uid)
        if scene is None:
            raise SceneError("The scene was removed while it was worked on.", "Start again.")
        return scene

    def _timed(self, name: str, work: Generator[None, None, Made]) -> Generator[None, None, Made]:
        began = time.monotonic()
        made = yield from work
        self.take.record.timings[name] = time.monotonic() - began
        return made
