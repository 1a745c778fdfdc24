"""Frames of a Sequencer strip or of a movie file as arrays, with the colours that the file has.

A copy of the scene shows the strip alone, through the view transform Standard: PNG and FFV1 come out exactly.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Callable, Iterator, NamedTuple

import bpy
import msgspec
import numpy as np

from ..shared.errors import Cancelled, UsageError
from ..shared.request import GenerationRequest
from ..shared.timeline import sample_frames
from .cameras import render_size
from .capture.scene_guard import RenderCopy, render_result
from .fitting import fit_picture
from .images import BlenderImages
from .render_job import Renders, done_at_once
from .sequencer import UNDOING, strip_end, strip_start

Progress = Callable[[int, int], None]
IsCancelled = Callable[[], bool]
STRIP = "strip:"  # a request's source that begins so names a strip of the Sequencer
SILENT = {"SOUND"}
FILES = {"IMAGE", "MOVIE"}


class Extent(NamedTuple):
    """A video's first and last frame, inclusive, and their rate."""

    start: float
    end: float
    fps: float


class Footage(msgspec.Struct):
    """``frames`` u8 [S,H,W,3] in the request's window; S is 1 for a single picture. ``size`` is the (width, height) that
    the video has itself; of its ``count`` frames the ``numbers`` i64 [S], from 0, were taken."""

    frames: np.ndarray
    size: tuple[int, int]
    numbers: np.ndarray
    count: int


def find_source_strip(scene: bpy.types.Scene, name: str) -> tuple[bpy.types.Scene, bpy.types.Strip]:
    """The strip of that name, in this scene or else in another, and its scene; UsageError where none has pictures."""
    for each in (scene, *bpy.data.scenes):
        strip = each.sequence_editor.strips_all.get(name) if each.sequence_editor else None
        if strip and strip.type not in SILENT:
            return each, strip
        if strip:
            raise UsageError(f"The strip {name} has no pictures.", "Choose a movie or image strip.")
    raise UsageError(f"There is no strip {name!r} in the Sequencer.", "Choose a strip, or an image or movie file.")


def strip_extent(scene: bpy.types.Scene, strip: bpy.types.Strip) -> Extent:
    """The timeline frames that a strip shows."""
    return Extent(strip_start(strip), strip_end(strip) - 1, scene.render.fps / scene.render.fps_base)


def movie_extent(file: Path) -> Extent:
    """All frames of a movie file, counted from 1; UsageError where it is none."""
    with _movie_scene(file) as scene:
        return strip_extent(scene, scene.sequence_editor.strips[0])


def in_own_frames(scene: bpy.types.Scene, request: GenerationRequest, keep_range: bool = False) -> GenerationRequest:
    """The request with the range and rate of the video that it starts from; with ``keep_range`` with its rate alone.

    UsageError where the video shows one frame only. A request of a picture stays as it is.
    """
    extent = _source_extent(scene, request.source)
    if extent is None:
        return request
    if extent.end <= extent.start:
        raise UsageError(f"{request.source} shows one frame only.", "Choose a longer video.")
    start, end = (request.start, request.end) if keep_range else (extent.start, extent.end)
    return msgspec.structs.replace(request, start=start, end=end, scene_fps=extent.fps)


def _source_extent(scene: bpy.types.Scene, source: str) -> Extent | None:
    """None of a picture."""
    if source.startswith(STRIP):
        owner, strip = find_source_strip(scene, source.removeprefix(STRIP))
        return None if _is_still(strip) else strip_extent(owner, strip)
    return movie_extent(Path(source)) if source and is_movie(Path(source)) else None


def _is_still(strip: bpy.types.Strip) -> bool:
    return strip.type == "IMAGE" and len(strip.elements) == 1


def is_movie(file: Path) -> bool:
    """By its name, as Blender's own file browser knows them."""
    return file.suffix.lower() in bpy.path.extensions_movie


def reading_strip(
    scene: bpy.types.Scene,
    strip: bpy.types.Strip,
    request: GenerationRequest,
    progress: Progress = lambda done, total: None,
    cancelled: IsCancelled = lambda: False,
) -> Renders[Footage]:
    """Of the strip's frames those nearest to the sampled ones.

    Image and movie strips are read at their own size, without the transform that lays them out; all others as the scene
    shows them. SceneError where Blender is rendering, Cancelled where ``cancelled()`` says so.
    """
    extent = strip_extent(scene, strip)
    wanted = np.clip(np.rint(sample_frames(request.start, request.end, request.frames)), extent.start, extent.end).astype(int)
    if _is_still(strip):
        wanted = wanted[:1]
    frames = np.empty((len(wanted), request.height, request.width, 3), np.uint8)
    with RenderCopy(scene) as copy, tempfile.TemporaryDirectory() as folder:
        _show_alone(copy.scene, strip.name)
        for index, frame in enumerate(wanted):
            if cancelled():
                raise Cancelled("Reading the video was cancelled.")
            repeats = index and frame == wanted[index - 1]
            picture = picture if repeats else (yield from _rendering(copy, int(frame), Path(folder) / "frame.png"))
            frames[index] = fit_picture(picture, request.width, request.height, request.fit)
            progress(index + 1, len(wanted))
    numbers = wanted - int(extent.start)
    return Footage(frames, picture.shape[1::-1], numbers, int(extent.end - extent.start) + 1)


strip_frames = done_at_once(reading_strip)


def reading_movie(
    file: Path,
    request: GenerationRequest,
    progress: Progress = lambda done, total: None,
    cancelled: IsCancelled = lambda: False,
) -> Renders[Footage]:
    """As :func:`reading_strip`, of a movie file, whose frames count from 1."""
    with _movie_scene(file) as scene:
        return (yield from reading_strip(scene, scene.sequence_editor.strips[0], request, progress, cancelled))


def _rendering(copy: RenderCopy, frame: int, file: Path) -> Renders[np.ndarray]:
    copy.scene.frame_current = frame
    yield from copy.rendering(brief=True)
    render_result().save_render(str(file), scene=copy.scene)
    return BlenderImages().read(file)


def _show_alone(scene: bpy.types.Scene, name: str) -> None:
    """Let the copy's Sequencer show one strip, pixel for pixel."""
    strips = scene.sequence_editor.strips_all
    strip = strips[name]
    for each in strips:
        each.mute = each != strip and not _holds(each, strip)
        if each.type in FILES and each.colorspace_settings.name in UNDOING.values():
            each.colorspace_settings.name = "sRGB"  # our own results, read so that a view transform is undone
    strip.blend_type = "REPLACE"
    _set_output(scene, _own_size(strip) or render_size(scene.render))
    if _own_size(strip):
        transform = strip.transform
        transform.scale_x = transform.scale_y = 1
        transform.offset_x = transform.offset_y = transform.rotation = 0


def _holds(meta: bpy.types.Strip, strip: bpy.types.Strip) -> bool:
    return meta.type == "META" and any(each == strip or _holds(each, strip) for each in meta.strips)


def _own_size(strip: bpy.types.Strip) -> tuple[int, int] | None:
    """Width and height of the files that a strip shows."""
    if strip.type not in FILES:
        return None
    first = strip.elements[0]
    return (first.orig_width, first.orig_height) if first.orig_width and first.orig_height else None


def _set_output(scene: bpy.types.Scene, size: tuple[int, int]) -> None:
    render, settings, view = scene.render, scene.render.image_settings, scene.view_settings
    render.use_sequencer = True
    render.resolution_x, render.resolution_y, render.resolution_percentage = *size, 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1
    render.dither_intensity, render.use_stamp = 0, False
    view.view_transform, view.look, view.exposure, view.gamma, view.use_curve_mapping = "Standard", "None", 0, 1, False
    if hasattr(settings, "media_type"):  # 5.0 and later
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth, settings.compression = "PNG", "RGB", "8", 0
    settings.color_management = "FOLLOW_SCENE"


@contextmanager
def _movie_scene(file: Path) -> Iterator[bpy.types.Scene]:
    """A scene of the movie's own rate that shows it from frame 1 on."""
    if not file.is_file():
        raise UsageError(f"There is no movie {file}.", "Give the path of a movie file.")
    scene = bpy.data.scenes.new("DaS movie")
    try:
        element = _movie_strip(scene, file).elements[0]
        scene.render.fps = max(1, round(element.orig_fps))
        scene.render.fps_base = scene.render.fps / element.orig_fps
        yield scene
    finally:
        with suppress(ReferenceError):  # an undo or another file has taken it
            bpy.data.scenes.remove(scene)


def _movie_strip(scene: bpy.types.Scene, file: Path) -> bpy.types.MovieStrip:
    try:
        strip = scene.sequence_editor_create().strips.new_movie(name="movie", filepath=str(file), channel=1, frame_start=1)
    except RuntimeError:
        strip = None
    if strip is None or not (strip.elements[0].orig_fps and strip.elements[0].orig_width):
        raise UsageError(f"{file} is no movie that Blender can read.", "Give an MP4, MKV, MOV or another movie file.")
    return strip
