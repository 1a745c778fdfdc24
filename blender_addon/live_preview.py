"""The video while it is denoised: the whole clip at low resolution, as a strip and as an image that plays it.

On the main thread only. The pictures lie in the take's folder ``preview``, which is gone once the frames have come.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import bpy
import msgspec
import numpy as np

from ..shared import png
from ..shared.request import GenerationRequest
from .areas import areas_of, redraw, redraw_sidebars, show_in
from .resize import enlarge
from .sequencer import GrowingStrip, end_reading_ahead, find_strip
from .stepwise import find_scene

PICTURES_A_SECOND = 8.0


class LivePreview:
    """Of one take. ``pictures`` are the latest, u8 [T',H',W',3] evenly over the range, None before the first.

    ``strip_scene`` is where a strip shows them, None for nowhere.
    """

    def __init__(self, take_folder: Path, request: GenerationRequest, strip_scene: bpy.types.Scene | None):
        self.pictures: np.ndarray | None = None
        self.number = 0  # the picture that plays now
        self._folder = take_folder / "preview"
        self._name = f"{take_folder.name} live preview"
        self._request = request
        self._scene = strip_scene.session_uid if strip_scene else None
        self._next = 0.0
        self._rgba = np.empty(0, np.float32)

    @property
    def size(self) -> str:
        """As 90x60."""
        height, width = self.pictures.shape[1:3]
        return f"{width}x{height}"

    @property
    def image(self) -> bpy.types.Image | None:
        """The image that plays; an undo or the user may have removed it."""
        return bpy.data.images.get(self._name)

    def show(self, pictures: np.ndarray) -> None:
        """These are the latest pictures."""
        self.pictures, self.number = pictures, min(self.number, len(pictures) - 1)
        shape = (*pictures.shape[:3], 4)
        self._rgba = np.ones(shape, np.float32)
        self._rgba[..., :3] = pictures[:, ::-1].astype(np.float32) / 255  # Blender's rows run up
        self._write()
        if self._scene is not None:
            self._show_strip()
        self.play()

    def play(self) -> None:
        """Show the next picture in the image where its time has come."""
        now = time.monotonic()
        if self.pictures is None or now < self._next:
            return
        self._next, self.number = now + 1 / PICTURES_A_SECOND, (self.number + 1) % len(self.pictures)
        image, (height, width) = self.image or self._new_image(), self.pictures.shape[1:3]
        if tuple(image.size) != (width, height):
            image.scale(width, height)
        image.pixels.foreach_set(self._rgba[self.number].ravel())
        image.update()
        redraw("IMAGE_EDITOR")
        redraw_sidebars()

    def frame(self, index: int) -> np.ndarray:
        """u8 [H,W,3] of the request's size: the picture nearest to result ``index``, made larger."""
        last = max(self._request.frames - 1, 1)
        nearest = round(index * (len(self.pictures) - 1) / last)
        return enlarge(self.pictures[nearest], self._request.width, self._request.height)

    def end(self, keep_strip: bool = False) -> None:
        """Take the image away, and the strip and its pictures where they are no longer needed."""
        if image := self.image:
            bpy.data.images.remove(image)
        if not keep_strip:
            self._remove_strip()
            shutil.rmtree(self._folder, ignore_errors=True)

    def _write(self) -> None:
        self._folder.mkdir(exist_ok=True)
        for index, picture in enumerate(self.pictures):
            (self._folder / f"{index + 1:04d}.png").write_bytes(png.encode(picture))

    def _show_strip(self) -> None:
        as_if = msgspec.structs.replace(self._request, frames=len(self.pictures))
        scene = find_scene(self._scene)
        if scene:
            GrowingStrip(scene, self._folder, as_if, self._name).show(range(len(self.pictures)))

    def _remove_strip(self) -> None:
        """The frames' strip, which grew above it, takes its place."""
        scene = find_scene(self._scene)
        strip = find_strip(scene, self._folder) if scene else None
        if strip is None:
            return
        channel, result = strip.channel, find_strip(scene, self._folder.with_name("frames"))
        end_reading_ahead(strip)
        scene.sequence_editor.strips.remove(strip)
        if result and result.channel == channel + 1:
            result.channel = channel

    def _new_image(self) -> bpy.types.Image:
        height, width = self.pictures.shape[1:3]
        image = bpy.data.images.new(self._name, width, height)
        for area in areas_of("IMAGE_EDITOR"):
            if area.spaces.active.image is None:
                show_in(area, image)
        return image
