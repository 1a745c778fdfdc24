"""Pictures by Blender: read any image it knows, write exact PNG, an H.264 or a lossless video. Leaves no data-block behind."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import bpy
import numpy as np

from ..shared import png
from ..shared.errors import DasError, GenerationError, UsageError
from .render_job import Render, Renders, at_once, called

LINEAR_FORMATS = {"OPEN_EXR", "OPEN_EXR_MULTILAYER", "HDR", "RADIANCE_HDR"}


class Format(NamedTuple):
    """A container and codec as Blender calls them."""

    container: str
    codec: str
    quality: str = "HIGH"


H264 = Format("MPEG4", "H264")
FINEST_H264 = Format("MPEG4", "H264", "LOSSLESS")  # nothing is lost but by YUV 4:2:0
FFV1 = Format("MKV", "FFV1")  # exact; Blender's lossless H.264 is off by one level, because it is YUV


class BlenderImages:
    """:class:`shared.take.Images` where bpy is. ``progress(written, total)`` hears of the frames of a video for people.
    ``rendered`` takes the steps of its render, which is done at once where there is none."""

    def __init__(
        self,
        progress: Callable[[int, int], None] = lambda written, total: None,
        rendered: Callable[[Renders[None]], Iterator[None]] | None = None,
    ):
        self._progress, self._rendered = progress, rendered

    def read(self, file: Path) -> np.ndarray:
        """u8 [H,W,3]: the file's own sRGB values, whatever the scene's colour management; what is transparent lies over black."""
        with _loaded(Path(file)) as image:
            stored = _stored(image)
            colour = stored[..., :3] if image.channels >= 3 else np.repeat(stored[..., :1], 3, axis=-1)
            encoded = linear_to_srgb(colour) if image.file_format in LINEAR_FORMATS else colour
            if image.channels in (2, 4) and image.file_format not in LINEAR_FORMATS:  # their alpha is multiplied in
                encoded = encoded * stored[..., -1:]
            return np.rint(np.clip(encoded, 0, 1) * 255).astype(np.uint8)

    def read_mask(self, file: Path) -> np.ndarray:
        """bool [H,W]: what is not transparent, or where nothing is transparent what is bright, each from one half on."""
        with _loaded(Path(file)) as image:
            stored = _stored(image)
            alpha = stored[..., -1] if image.channels in (2, 4) else np.ones(stored.shape[:2])
            colour = stored[..., :3] if image.channels >= 3 else stored[..., :1]
            return (alpha if (alpha < 1).any() else colour.mean(axis=-1)) >= 0.5

    def write(self, file: Path, pixels: np.ndarray) -> None:
        """PNG of u8 [H,W,3]."""
        Path(file).write_bytes(png.encode(pixels))

    def write_video(self, file: Path, frames: list[Path], fps: float) -> None:
        """H.264 in MP4 from PNG files of one size in one folder; whole or not at all."""
        at_once(_writing(file, frames, fps, H264, self._progress))

    def writing_video(self, file: Path, frames: list[Path], fps: float) -> Iterator[None]:
        """As :meth:`write_video`, in steps."""
        if self._rendered:
            yield from self._rendered(_writing(file, frames, fps, H264, self._progress))
        else:
            self.write_video(file, frames, fps)

    def write_finest(self, file: Path, frames: list[Path], fps: float) -> None:
        """As :meth:`write_video`, for machines: nothing is lost but by YUV 4:2:0, and few players show it."""
        at_once(_writing(file, frames, fps, FINEST_H264, lambda written, total: None))

    def write_lossless(self, file: Path, frames: list[Path], fps: float, progress: Callable[[int, int], None]) -> None:
        """FFV1 in Matroska, whose frames come back exactly, from PNG files of one size; whole or not at all.

        A DasError of ``progress(written, total)`` ends it and is raised here.
        """
        at_once(self.writing_lossless(file, frames, fps, progress))

    def writing_lossless(self, file: Path, frames: list[Path], fps: float, progress: Callable[[int, int], None]) -> Renders[None]:
        """:meth:`write_lossless` as a work of renders; ``progress`` is called in the render's thread."""
        return _writing(file, frames, fps, FFV1, progress)


def _writing(file: Path, frames: list[Path], fps: float, form: Format, progress: Callable[[int, int], None]) -> Renders[None]:
    file = Path(file)
    partial = file.with_name(file.name + ".partial")
    height, width = BlenderImages().read(frames[0]).shape[:2]
    partial.parent.mkdir(parents=True, exist_ok=True)
    try:
        partial.touch()  # Blender's job would tell in a report of its own that it cannot
        with _video_scene(frames, width, height, fps) as scene:
            ffmpeg = scene.render.ffmpeg
            ffmpeg.format, ffmpeg.codec, ffmpeg.constant_rate_factor = form
            yield from _encoding(scene, partial, progress)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)


def linear_to_srgb(linear: np.ndarray) -> np.ndarray:
    """Linear light to the sRGB curve (IEC 61966-2-1), for pictures that hold scene light such as EXR."""
    clipped = np.clip(linear, 0, 1)
    return np.where(clipped <= 0.0031308, 12.92 * clipped, 1.055 * clipped ** (1 / 2.4) - 0.055)


def _stored(image: bpy.types.Image) -> np.ndarray:
    """f32 [H,W,C] as in the file, its upper row first."""
    width, height = image.size
    pixels = np.empty(width * height * image.channels, np.float32)
    image.pixels.foreach_get(pixels)
    return pixels.reshape(height, width, image.channels)[::-1]


@contextmanager
def _loaded(file: Path):
    """The image as a data-block that is gone again afterwards."""
    if not file.is_file():
        raise UsageError(f"There is no image {file}.", "Give the path of an image file.")
    try:
        image = bpy.data.images.load(str(file), check_existing=False)
    except RuntimeError:
        raise _no_image(file) from None
    try:
        # "Non-Color" hands out the stored values; a 16-bit file would otherwise come as linear light.
        image.colorspace_settings.name = "Non-Color"
        image.alpha_mode = "CHANNEL_PACKED"  # hands out colour and alpha as they are stored
        if not (image.has_data or len(image.pixels)) or 0 in image.size:
            raise _no_image(file)
        yield image
    finally:
        bpy.data.images.remove(image)


def _no_image(file: Path) -> UsageError:
    return UsageError(f"{file} is no image that Blender can read.", "Give a PNG, JPEG, EXR or another image file.")


@contextmanager
def _video_scene(frames: list[Path], width: int, height: int, fps: float):
    """A scene of one strip, so that neither the user's scene nor their Render Result takes part."""
    had_result = "Render Result" in bpy.data.images
    scene = bpy.data.scenes.new("das video")
    try:
        editor = scene.sequence_editor_create()
        with bpy.context.temp_override(scene=scene):  # Blender 5.2 crashes where the context's scene has no Sequencer
            for name in ("use_cache_raw", "use_cache_preprocessed", "use_cache_composite", "use_cache_final"):
                if hasattr(editor, name):  # else each frame of the video would stay in memory
                    setattr(editor, name, False)
        strip = editor.strips.new_image(
            name="frames", filepath=str(frames[0]), channel=1, frame_start=1, fit_method="ORIGINAL"
        )
        for frame in frames[1:]:
            strip.elements.append(frame.name)
        scene.frame_start, scene.frame_end = 1, len(frames)
        scene.view_settings.view_transform = "Standard"
        _set_output(scene.render, width, height, fps)
        yield scene
    finally:
        with suppress(ReferenceError):  # an undo or another file has taken it
            bpy.data.scenes.remove(scene)
        if not had_result and "Render Result" in bpy.data.images:
            bpy.data.images.remove(bpy.data.images["Render Result"])


def _set_output(render: bpy.types.RenderSettings, width: int, height: int, fps: float) -> None:
    render.resolution_x, render.resolution_y, render.resolution_percentage = width, height, 100
    render.dither_intensity = 0
    render.use_file_extension = False
    render.fps = max(1, round(fps))
    render.fps_base = render.fps / fps
    if hasattr(render.image_settings, "media_type"):  # Blender 5.0 and later
        render.image_settings.media_type = "VIDEO"
    render.image_settings.file_format = "FFMPEG"
    render.ffmpeg.audio_codec = "NONE"


def _encoding(scene: bpy.types.Scene, file: Path, progress: Callable[[int, int], None]) -> Renders[None]:
    scene.render.filepath = str(file)
    stopped: list[DasError] = []

    def tell(rendered: bpy.types.Scene, *_) -> None:
        try:
            progress(rendered.frame_current, rendered.frame_end)
        except DasError as error:  # Blender would only print it; a scene that shows nothing ends its render at once
            stopped.append(error)
            rendered.sequence_editor.strips[0].mute = True

    try:
        with _no_handlers(), called(bpy.app.handlers.render_write, tell):
            yield from Render(scene, scene, animation=True)
    except RuntimeError as error:
        if not stopped:
            raise GenerationError(f"Blender could not write {file.name}: {error}.", "Check the folder and its free space.") from error
    if stopped:
        raise stopped[0]
    if not file.exists() or file.stat().st_size == 0:
        raise GenerationError(f"Blender wrote no video to {file.parent}.", "Check the folder and its free space.")


@contextmanager
def _no_handlers():
    """The user's frame and render handlers have no business in a scene of ours. Those that come meanwhile stay."""
    lists = [getattr(bpy.app.handlers, name) for name in dir(bpy.app.handlers) if name.startswith(("frame_change_", "render_"))]
    kept = [list(handlers) for handlers in lists]
    try:
        for handlers in lists:
            handlers.clear()
        yield
    finally:
        for handlers, before in zip(lists, kept):
            handlers[:] = before + [each for each in handlers if each not in before]
