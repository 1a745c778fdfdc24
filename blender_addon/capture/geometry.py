"""What the camera sees, as arrays: every mesh-like thing that would be rendered, at every sampled frame.

One render call of a temporary engine samples all frames, so modifiers, armatures, instances, render visibility and
render subdivision are those of a render. Surfaces keep their identity through the instance's name and number and,
where topology changes, through attributes.
"""

from __future__ import annotations

from pathlib import Path
from typing import Callable, Sequence

import bpy

from ...shared.camera import Camera
from ...shared.errors import Cancelled
from ...shared.request import GenerationRequest
from ...shared.timeline import sample_frames
from .. import cameras
from ..render_job import Renders, done_at_once
from .assembly import Assembly
from .engine import reach, visiting_render
from .frames import FrameStore
from .identity import rest_positions
from .instances import InstanceReader
from .physics import Moments
from .scene_guard import RenderCopy, first_layer, rendered_objects
from .untracked import Untracked, sentences

Progress = Callable[[int, int], None]
IsCancelled = Callable[[], bool]


class Capture:
    """All sampled frames, used as ``with capture(...) as captured``: they lie on disk, and leaving the block removes them.

    ``frames`` is a sequence that reads a GeometryFrame at each access: hold at most two at once. ``way`` is "scene
    copy" or "in place", ``notes`` says every choice a user should know, and ``untracked`` what is not tracked and why.
    """

    def __init__(self, frames: FrameStore, way: str, notes: list[str], object_names: list[str], untracked: list[Untracked]):
        self.frames = frames
        self.way = way
        self.notes = notes
        self.object_names = object_names
        self.untracked = untracked

    @property
    def cameras(self) -> list[Camera]:
        return self.frames.cameras

    @property
    def sampled(self) -> list[float]:
        """The scene frames."""
        return self.frames.sampled

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_) -> None:
        self.frames.close()


def capturing(
    scene: bpy.types.Scene,
    request: GenerationRequest,
    frames: Sequence[float] | None = None,
    *,
    progress: Progress | None = None,
    cancelled: IsCancelled | None = None,
    folder: Path | None = None,
) -> Renders[Capture]:
    """Capture rising ``frames`` of a scene (default: the request's sampled ones) and leave the scene as it was.

    SceneError where there is no usable camera, a render is running or rigid bodies are not baked; Cancelled where
    ``cancelled()`` says so. ``progress(done, total)`` counts sampled frames; both are called in the render's thread.
    ``folder`` is where the frames are kept meanwhile (default: the system's temporary folder).
    """
    cameras.check_any_camera(scene)
    moments = Moments(scene, sample_frames(request.start, request.end, request.frames) if frames is None else frames)
    store = FrameStore(folder)
    try:
        with RenderCopy(scene) as copy, rest_positions(rendered_objects(scene)), moments.kept():
            sampler = _Sampler(scene, request, moments, store, progress or (lambda done, total: None), cancelled or (lambda: False))
            yield from visiting_render(copy, sampler)
    except BaseException:
        store.close()
        raise
    untracked = [*sampler.reader.untracked, *sampler.assembly.untracked]
    notes = _scene_notes(scene, request) + moments.notes + sampler.assembly.notes() + sentences(untracked)
    return Capture(store, moments.way, notes, sampler.assembly.object_names, untracked)


capture = done_at_once(capturing)


class _Sampler:
    """Called inside the render: sets each frame and reads the camera and the instances."""

    def __init__(
        self,
        scene: bpy.types.Scene,
        request: GenerationRequest,
        moments: Moments,
        store: FrameStore,
        progress: Progress,
        cancelled: IsCancelled,
    ):
        self.request, self.moments, self.store = request, moments, store
        self.progress, self.cancelled = progress, cancelled
        self.reader = InstanceReader(scene.render.engine)
        self.assembly = Assembly()

    def __call__(self, engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
        self.moments.play(engine)
        for frame, steps in self.moments:
            if self.cancelled():
                raise Cancelled("The capture was cancelled.")
            reach(engine, steps)
            camera = cameras.window_camera(cameras.scene_view(depsgraph), self.request)
            self.store.add(frame, camera, *self.assembly.add(self.reader.read(depsgraph)))
            self.progress(len(self.store), len(self.moments.frames))
            engine.update_progress(len(self.store) / len(self.moments.frames))


def _scene_notes(scene: bpy.types.Scene, request: GenerationRequest) -> list[str]:
    notes, used = missing_notes(), [layer.name for layer in scene.view_layers if layer.use]
    if len(used) > 1:
        notes.append(f"Of the view layers {', '.join(used)} only {first_layer(scene).name} was captured.")
    if scene.render.use_border:
        notes.append("The render region is ignored: the window is taken from the camera's whole view.")
    if request.first_frame.source != "file":
        if scene.render.use_motion_blur:
            notes.append("The first frame is rendered without motion blur, so that its edges line up with the tracking video.")
        if scene.render.use_freestyle:
            notes.append("The first frame is rendered without Freestyle's lines.")
        if scene.render.use_compositing and _has_compositor(scene):
            notes.append("The first frame is rendered without the compositor.")
    return notes


def missing_notes() -> list[str]:
    """What the file asks for and Blender did not do or find, so that the capture lacks it."""
    notes = []
    if bpy.app.autoexec_fail:
        why = bpy.app.autoexec_fail_message
        notes.append(f"Python in the file was not run ({why}), so what it drives stands still; allow it with --scripts.")
    for library in bpy.data.libraries:
        if not library.packed_file and not Path(bpy.path.abspath(library.filepath, library=library.parent)).exists():
            notes.append(f"The linked file {library.filepath} is missing, and all that it holds.")
    return notes


def _has_compositor(scene: bpy.types.Scene) -> bool:
    """Blender 4.5 keeps the compositor's nodes in the scene, 5.0 and later in a node group."""
    if hasattr(scene, "compositing_node_group"):
        return scene.compositing_node_group is not None
    return scene.use_nodes
