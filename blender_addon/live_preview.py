"""The video while it is denoised: the whole clip at low resolution, as a strip and as an image that plays it.

On the main thread only. The pictures lie in the take's folder ``preview``, which is gone once the frames have come. The image
is a sequence of them, and each Image Editor is told which one to show: to write an image's pixels, or to give it another file,
lets Blender draw every viewport anew, and ask at the next save whether a changed image is to be saved.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path

import bpy
import msgspec
import numpy as np
from bpy.app.handlers import persistent

from ..shared import png
from ..shared.request import GenerationRequest
from .areas import areas_of, redraw_sidebars, show_in
from .resize import enlarge
from .sequencer import GrowingStrip, blender_path, end_reading_ahead, find_strip
from .stepwise import find_scene

PICTURES_A_SECOND = 8.0
DRAWING = 4  # of so many parts of the time Blender may draw one, where it draws slowly
NAME_ENDS = " live preview"


class LivePreview:
    """Of one take. ``pictures`` are the latest, u8 [T',H',W',3] evenly over the range, None before the first.

    ``strip_scene`` is where a strip shows them, None for nowhere.
    """

    def __init__(self, take_folder: Path, request: GenerationRequest, strip_scene: bpy.types.Scene | None):
        self.pictures: np.ndarray | None = None
        self.number = 0  # the picture that plays now
        self._folder = take_folder / "preview"
        self._name = f"{take_folder.name}{NAME_ENDS}"
        self._request = request
        self._scene = strip_scene.session_uid if strip_scene else None
        self._turned, self._called = 0.0, time.monotonic()
        self._drawn = 0.0  # seconds that Blender took to draw the picture that plays

    @property
    def size(self) -> str:
        """As 90x60."""
        height, width = self.pictures.shape[1:3]
        return f"{width}x{height}"

    @property
    def image(self) -> bpy.types.Image | None:
        """The image that plays, None before an Image Editor shows it; an undo or the user may have removed it."""
        return bpy.data.images.get(self._name)

    def show(self, pictures: np.ndarray) -> None:
        """These are the latest pictures."""
        first = self.pictures is None
        self.pictures, self.number = pictures, min(self.number, len(pictures) - 1)
        self._write()
        if self._scene is not None:
            self._show_strip()
        if image := self.image:
            image.reload()
        for area in areas_of("IMAGE_EDITOR") if first else ():
            if area.spaces.active.image is None:
                self.show_in(area)
        self.play()

    def show_in(self, area: bpy.types.Area) -> None:
        """Let an Image Editor play it."""
        image = self.image or bpy.data.images.load(str(self._folder / "0001.png"))
        image.name, image.source = self._name, "SEQUENCE"
        image.filepath = blender_path(self._folder) + "0001.png"
        show_in(area, image)
        area.spaces.active.image_user.use_auto_refresh = True
        self._turn(area)

    def play(self) -> None:
        """Show the next picture where its time has come. It is called all the time, and late where Blender draws meanwhile."""
        now = time.monotonic()
        self._drawn, self._called = max(self._drawn, now - self._called), now
        pause = max(1 / PICTURES_A_SECOND, DRAWING * self._drawn)
        if self.pictures is None or len(self.pictures) < 2 or now < self._turned + pause:
            return
        self._turned, self._drawn, self.number = now, 0.0, (self.number + 1) % len(self.pictures)
        for area in areas_of("IMAGE_EDITOR"):
            if self.image and area.spaces.active.image == self.image:
                self._turn(area)
        redraw_sidebars()

    def _turn(self, area: bpy.types.Area) -> None:
        """Let an Image Editor show the picture that plays now, whatever the scene's frame is."""
        user, length = area.spaces.active.image_user, len(self.pictures)
        user.frame_start, user.frame_duration, user.use_cyclic = 1, length, True
        user.frame_offset = self.number - (bpy.context.scene.frame_current - 1) % length
        area.tag_redraw()

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


@persistent
def remove_what_is_over(*_) -> None:
    """Undo and an older file bring strips and images of previews back, whose pictures are gone."""
    for scene in bpy.data.scenes:
        strips = scene.sequence_editor.strips if scene.sequence_editor else ()
        for strip in [one for one in strips if one.type == "IMAGE" and _is_over(one.name, one.directory)]:
            end_reading_ahead(strip)
            scene.sequence_editor.strips.remove(strip)
    for image in [one for one in bpy.data.images if _is_over(one.name, one.filepath)]:
        bpy.data.images.remove(image)


def _is_over(name: str, path: str) -> bool:
    return NAME_ENDS in name and not Path(bpy.path.abspath(path)).exists()


def register() -> None:
    for handlers in (bpy.app.handlers.load_post, bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.append(remove_what_is_over)


def unregister() -> None:
    for handlers in (bpy.app.handlers.load_post, bpy.app.handlers.undo_post, bpy.app.handlers.redo_post):
        handlers.remove(remove_what_is_over)
