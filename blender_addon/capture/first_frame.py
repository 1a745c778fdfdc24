"""The first frame: a render of the request's window at the first sampled frame, or an image file; and renders of all frames."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np

from ...shared.camera import Camera, shown_pixels
from ...shared.errors import SceneError, UsageError
from ...shared.request import GenerationRequest
from ...shared.take import Images
from ...shared.timeline import sample_frames
from ..cameras import WindowCamera
from ..render_job import Renders, at_once, done_at_once
from .engine import reach, visiting_render
from .physics import Moments
from .scene_guard import RenderCopy, render_result

ENGINES = {"workbench": "BLENDER_WORKBENCH", "cycles": "CYCLES"}


def rendering_first_frame(scene: bpy.types.Scene, request: GenerationRequest, images: Images) -> Renders[np.ndarray]:
    """u8 [H,W,3] sRGB of the request's size, lined up with tracking frame 0; what is transparent lies over black.

    Rendered by the scene's own engine and look (``render``), by Workbench or Cycles, each with
    ``request.first_frame.samples`` where that is not 0, without sequencer, compositor and motion blur; or read from
    ``request.first_frame.path``. With ``fit = pad`` the margins beside the camera's view are black.
    UsageError for a missing image or one of another size, SceneError where Blender cannot render.
    """
    if request.first_frame.source == "file":
        return _read(Path(request.first_frame.path), request, images)
    moments = Moments(scene, [request.start])
    with RenderCopy(scene) as copy:
        (camera,) = yield from _reaching(copy, moments, request)
        return (yield from _rendering(copy, camera, request.start, images))


first_frame = done_at_once(rendering_first_frame)


def render_frames(scene: bpy.types.Scene, request: GenerationRequest, images: Images) -> Iterator[np.ndarray]:
    """Every sampled frame as :func:`first_frame` renders the first, u8 [H,W,3], from one copy of the scene."""
    moments = Moments(scene, sample_frames(request.start, request.end, request.frames))
    with RenderCopy(scene) as copy:
        cameras = at_once(_reaching(copy, moments, request))
        for camera, frame in zip(cameras, moments.frames):
            yield at_once(_rendering(copy, camera, frame, images))


def _read(file: Path, request: GenerationRequest, images: Images) -> np.ndarray:
    pixels = images.read(file)
    height, width = pixels.shape[:2]
    if (width, height) != (request.width, request.height):
        raise UsageError(
            f"The first frame {file} is {width}x{height}, the generation is {request.width}x{request.height}.",
            f"Give an image of {request.width}x{request.height} pixels, or choose its size with --size {width}x{height}.",
            "use_image_size",
        )
    return pixels


def _reaching(copy: RenderCopy, moments: Moments, request: GenerationRequest) -> Renders[list[WindowCamera]]:
    """The camera at each moment, and the copy ready to be rendered by it. Stepped as the capture does, which leaves
    simulations cached for the render to read."""
    found: list[WindowCamera] = []

    def visit(engine: bpy.types.RenderEngine, depsgraph: bpy.types.Depsgraph) -> None:
        moments.play(engine)
        for _, steps in moments:
            reach(engine, steps)
            found.append(WindowCamera(depsgraph, request))

    engine = copy.scene.render.engine
    with moments.kept():
        yield from visiting_render(copy, visit)
    copy.scene.render.engine = engine
    _set_output(copy.scene, request)
    return found


def _set_output(scene: bpy.types.Scene, request: GenerationRequest) -> None:
    render, settings = scene.render, scene.render.image_settings
    _choose_engine(scene, request)
    render.resolution_x, render.resolution_y, render.resolution_percentage = request.width, request.height, 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1
    if hasattr(settings, "media_type"):  # 5.0 and later
        settings.media_type = "IMAGE"
    settings.file_format, settings.color_mode, settings.color_depth = "PNG", "RGB", "8"
    settings.color_management = "FOLLOW_SCENE"


def _choose_engine(scene: bpy.types.Scene, request: GenerationRequest) -> None:
    source, samples = request.first_frame.source, request.first_frame.samples
    if source in ENGINES:
        try:
            scene.render.engine = ENGINES[source]
        except TypeError:
            raise SceneError(f"This Blender has no {source.capitalize()}.", "Enable it in Preferences, Add-ons, or use --first-frame render.", "render_first_frame") from None
    if samples and scene.render.engine == "CYCLES":
        scene.cycles.samples = samples
        scene.cycles.use_adaptive_sampling = False
    elif samples and scene.render.engine.startswith("BLENDER_EEVEE"):
        scene.eevee.taa_render_samples = samples


def _rendering(copy: RenderCopy, window: WindowCamera, frame: float, images: Images) -> Renders[np.ndarray]:
    copy.scene.frame_float = float(frame)
    copy.scene.timeline_markers.clear()  # a bound camera would take the place of ours
    with window.temporary() as camera, tempfile.TemporaryDirectory() as folder:
        copy.scene.camera = camera
        yield from copy.rendering()
        file = Path(folder) / "first_frame.png"
        render_result().save_render(str(file), scene=copy.scene)
        return _without_margins(images.read(file), window.window)


def _without_margins(pixels: np.ndarray, window: Camera) -> np.ndarray:
    pixels[~shown_pixels(window)] = 0
    return pixels
