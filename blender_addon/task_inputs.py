"""What a task starts from (:mod:`shared.task_signals`), read from the scene and from files as its request says.

The picture is the scene's own first frame, an image or movie file, or a strip. Depth, path, matte and motion of the
scene are exact; what is not known here the backend estimates.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

import bpy
import numpy as np

from ..shared.errors import SceneError, UsageError
from ..shared.motion_file import read_motion
from ..shared.request import GenerationRequest
from ..shared.track_files import read_tracks
from ..shared.wanted_path import wanted_path
from .camera_path import CameraTrack, reading_cameras
from .capture.first_frame import rendering_first_frame
from .capture.signals import nothing_seen
from .capture.still import Still, matte, reading_still
from .fitting import fit_mask, fit_picture, fit_points
from .footage import STRIP, Footage, find_source_strip, is_movie, reading_movie, reading_strip
from .images import BlenderImages
from .render_job import Renders

Tell = Callable[[str, int, int], None]


class TaskInputs:
    """``arrays`` and ``notes`` once :meth:`collecting` is through. ``tell(phase, step, total)`` hears how far it is."""

    def __init__(
        self,
        scene: bpy.types.Scene,
        request: GenerationRequest,
        tell: Tell = lambda phase, step, total: None,
        cancelled: Callable[[], bool] = lambda: False,
    ):
        self.arrays: dict[str, np.ndarray] = {}
        self.notes: list[str] = []
        self._scene, self._request = scene, request
        self._tell, self._cancelled = tell, cancelled
        self._images = BlenderImages()
        self._read_still: Still | None = None
        self._read_track: CameraTrack | None = None

    def collecting(self) -> Renders[TaskInputs]:
        """Read all; files first, so that a wrong one is said before anything is rendered.

        UsageError where a file or a setting is wrong, SceneError where the scene lacks what is asked for.
        """
        task = self._request.task
        if task == "camera_control" or self._moves_with_camera:
            yield from self._path()
        if task == "object_manipulation":
            yield from self._motion()
            yield from self._mask()
        yield from self._picture()
        if task != "motion_transfer":
            yield from self._depth()
        return self

    # what the request asks of the scene

    @property
    def _is_scene(self) -> bool:
        """Is the picture the scene's own first frame?"""
        return not self._request.source

    @property
    def _has_depth(self) -> bool:
        """Is the picture's depth the scene's?"""
        source = self._request.depth.source
        if source == "file":
            raise UsageError("A depth file is read outside of Blender only.", "Use das camera-control IMAGE --depth FILE, or another depth.")
        return source == "scene" or (source == "auto" and self._is_scene)

    @property
    def _follows_camera(self) -> bool:
        """Is the wanted path the scene's camera?"""
        camera = self._request.camera
        return not (camera.motion or camera.path)

    @property
    def _moves_with_camera(self) -> bool:
        """An object that moves in the scene's own picture is seen by the scene's camera, or by a path that is asked for."""
        return self._request.task == "object_manipulation" and (self._is_scene or not self._follows_camera)

    def _still(self) -> Renders[Still]:
        """The scene's first frame, read when it is asked for first."""
        if self._read_still is None:
            self._read_still = yield from reading_still(self._scene, self._request, self._cancelled)
            self._note(self._read_still.notes)
        return self._read_still

    def _track(self) -> Renders[CameraTrack]:
        """The scene's camera, read when it is asked for first."""
        if self._read_track is None:
            followed = None
            if self._request.object.motion == "follow":
                followed = find_object(self._request.object.follow, "to follow")
            self._read_track = yield from reading_cameras(
                self._scene,
                self._request,
                follow=followed,
                progress=lambda done, total: self._tell("camera", done, total),
                cancelled=self._cancelled,
            )
            self._note(self._read_track.notes)
        return self._read_track

    @cached_property
    def _file(self) -> np.ndarray | None:
        """The image file that is the picture, u8 of its own size."""
        source = self._request.source
        is_image = source and not source.startswith(STRIP) and not is_movie(Path(source))
        return self._images.read(Path(source)) if is_image else None

    # each input

    def _path(self) -> Renders[None]:
        self.arrays |= wanted_path(self._request)
        if self._follows_camera:
            track = yield from self._track()
            self.arrays["world_to_camera"] = track.world_to_camera
            self.arrays["K"] = np.array([each.intrinsics.matrix for each in track.cameras])
            yield from self._measured_in_scene()

    def _motion(self) -> Renders[None]:
        wanted = self._request.object
        if wanted.motion == "path":
            self.arrays["object_motion"] = read_motion(Path(wanted.path), self._request.frames)
        elif wanted.motion == "follow":
            track = yield from self._track()
            self.arrays["object_motion"] = motion_in_camera(np.array(track.followed), track.world_to_camera[0])
            yield from self._measured_in_scene()
        elif not wanted.motion:
            raise UsageError("Nothing says how the object moves.", "Choose a motion: up, down, left, right, front, back, rot, path or follow.")

    def _mask(self) -> Renders[None]:
        wanted = self._request.object
        if wanted.mask:
            self.arrays["mask"] = self._mask_file(Path(wanted.mask))
        elif wanted.object:
            self.arrays["mask"] = matte((yield from self._still()), find_object(wanted.object, "to move"))
        elif wanted.click is None:
            raise UsageError("Nothing says what moves.", "Choose an object or a mask, or click on the picture.")

    def _mask_file(self, file: Path) -> np.ndarray:
        request = self._request
        mask = self._images.read_mask(file)
        sizes = {(request.height, request.width)} | ({self._file.shape[:2]} if self._file is not None else set())
        if mask.shape not in sizes:
            named = " or ".join(f"{width}x{height}" for height, width in sorted(sizes))
            raise UsageError(f"The mask {file} is {mask.shape[1]}x{mask.shape[0]}, the picture {named}.", "Give a mask of the picture's size.")
        if not mask.any():
            raise UsageError(f"The mask {file} is empty: no pixel of it is white or opaque.", "Paint white what moves.")
        return fit_mask(mask, request.width, request.height, request.fit)

    def _picture(self) -> Renders[None]:
        request = self._request
        if self._is_scene:
            self._tell("first frame", 0, 1)
            self.arrays["source"] = (yield from rendering_first_frame(self._scene, request, self._images))[None]
            return
        footage = yield from self._footage(request.source)
        self.arrays["source"] = footage.frames
        if request.task == "motion_transfer" and request.transfer.tracker == "file":
            self._tracks(footage)
        if request.first_frame.source == "file":
            self.arrays["first_frame"] = self._fitted(self._images.read(Path(request.first_frame.path)))

    def _footage(self, source: str) -> Renders[Footage]:
        telling = (lambda done, total: self._tell("video", done, total)), self._cancelled
        if source.startswith(STRIP):
            scene, strip = find_source_strip(self._scene, source.removeprefix(STRIP))
            return (yield from reading_strip(scene, strip, self._request, *telling))
        if is_movie(Path(source)):
            return (yield from reading_movie(Path(source), self._request, *telling))
        return Footage(self._fitted(self._file)[None], self._file.shape[1::-1], np.zeros(1, int), 1)

    def _tracks(self, footage: Footage) -> None:
        """Tracks of the video's own frames and pixels, or of as many frames as are made."""
        request, file = self._request, Path(self._request.transfer.tracks)
        tracks = read_tracks(file)
        if len(tracks.xy) not in (footage.count, request.frames):
            raise UsageError(
                f"The tracks {file} have {len(tracks.xy)} frames, the video has {footage.count}.",
                f"Give tracks of {footage.count} frames, or of the {request.frames} that are made.",
            )
        numbers = footage.numbers if len(tracks.xy) == footage.count else np.arange(request.frames)
        window = (request.width, request.height)
        self.arrays["tracks"] = fit_points(tracks.xy[numbers], footage.size, window, request.fit).astype(np.float32)
        self.arrays["track_visible"] = tracks.visible[numbers]
        if tracks.depth is not None:
            self.arrays["track_depth"] = tracks.depth[numbers]

    def _fitted(self, picture: np.ndarray) -> np.ndarray:
        return fit_picture(picture, self._request.width, self._request.height, self._request.fit)

    def _depth(self) -> Renders[None]:
        if self._has_depth:
            if len(self.arrays["source"]) > 1:
                raise UsageError("The scene's depth is of one picture, and the source is a video.", "Let the depth be estimated.", "estimate_depth")
            if (yield from self._still()).median_depth is None:
                raise nothing_seen()
            self.arrays["source_depth"] = (yield from self._still()).depth[None]
        if self._has_depth or self._is_scene:
            self.arrays["source_K"] = (yield from self._still()).camera.intrinsics.matrix[None]

    def _measured_in_scene(self) -> Renders[None]:
        """Path or motion are in the scene's unit: where the depth is not, the scene's own depth says how they compare."""
        if self._has_depth:
            return
        still = yield from self._still()
        if still.median_depth is None:
            self._note(["The scene's camera sees nothing in the first frame, so its lengths are taken as the picture's own."])
        else:
            self.arrays["scene_depth"] = np.array([still.median_depth])

    def _note(self, sentences: list[str]) -> None:
        self.notes += [each for each in sentences if each not in self.notes]


def motion_in_camera(matrices: np.ndarray, world_to_camera: np.ndarray) -> np.ndarray:
    """M_t f64 [T,4,4] that moves points of the first frame's camera as an object of world matrices W_t [T,4,4] moves
    points fixed to it: M_t = C W_t W_0^-1 C^-1. SceneError where W_0 has no inverse."""
    if abs(np.linalg.det(matrices[0][:3, :3])) < 1e-12:
        raise SceneError("The object to follow has a scale of 0 in the first frame.", "Give it a scale, or choose another.")
    return world_to_camera @ matrices @ np.linalg.inv(matrices[0]) @ np.linalg.inv(world_to_camera)


def find_object(name: str, what: str) -> bpy.types.Object:
    """The object of that name; UsageError where there is none, or none is named."""
    if not name:
        raise UsageError(f"No object {what} is chosen.", "Choose one of the scene's objects.")
    thing = bpy.data.objects.get(name)
    if thing is None:
        near = difflib.get_close_matches(name, bpy.data.objects.keys(), 3, cutoff=0.0)
        raise UsageError(f"There is no object {name!r}.", f"Choose an object {what} that is in the file, such as {', '.join(near) or 'none yet'}.")
    return thing
