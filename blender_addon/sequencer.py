"""An image strip that grows as results arrive. The one file that knows how the Sequencer differs between versions.

Call from the main thread only, and never while Blender renders or saves.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path

import bpy
import msgspec

from ..shared.errors import UsageError
from ..shared.request import GenerationRequest
from ..shared.timeline import strip_elements
from .stepwise import find_scene

HIGHEST_CHANNEL = 128
UNDOING = {"AgX": "AgX Base sRGB", "Filmic": "Filmic sRGB"}


class GrowingStrip:
    """The results of one folder on a scene's timeline.

    Every timeline frame of the range shows the result nearest to it, so the strip ends up as long as the range.
    It grows in order: a result that comes early waits for those before it, and no more often than every ``pause`` seconds,
    because Blender draws all viewports anew when a strip changes. It is looked up anew each time, so
    an undo or a deletion by the user ends its growth and harms nothing. A second try at the same take shows its
    results in the strip of the first, wherever the user has moved it.
    """

    def __init__(self, scene: bpy.types.Scene, folder: Path, request: GenerationRequest, name: str, pause: float = 0.0):
        self._scene = scene.session_uid
        self._folder = Path(folder)
        self._request = request
        self._name = name
        self._elements = strip_elements(request.start, request.end, request.frames)
        self._arrived: set[int] = set()
        self._begun = False
        self._pause, self._next = pause, 0.0

    def add(self, index: int) -> None:
        """Result ``index`` (from 0) lies in the folder: show it soon after those before it are there."""
        self._arrived.add(index)
        if time.monotonic() >= self._next or self._ready() == len(self._elements):
            self.show()

    def show(self, indices: Iterable[int] = ()) -> None:
        """These lie in the folder too: show at once what has come."""
        self._next = time.monotonic() + self._pause
        self._arrived.update(indices)
        scene = find_scene(self._scene)
        if scene is None:
            return
        strip, length = find_strip(scene, self._folder), self._ready()
        if strip is None and not self._begun and length:
            strip = self._new(scene)
        if strip is None:
            return
        self._begun = True
        self._fill(strip, length)

    def again(self, scene: bpy.types.Scene) -> bpy.types.ImageStrip | None:
        """One more strip of all that lies in the folder; None where its first result does not."""
        self._arrived = {index for index in set(self._elements) if (self._folder / _file_name(index)).exists()}
        if not (length := self._ready()):
            return None
        strip = self._new(scene)
        self._fill(strip, length)
        return strip

    def _fill(self, strip: bpy.types.ImageStrip, length: int) -> None:
        names = [_file_name(index) for index in self._elements[:length]]
        end_reading_ahead(strip)
        survive_lost_files(find_scene(self._scene).sequence_editor)
        for element, name in zip(strip.elements, names):  # a live preview may get more pictures
            if element.filename != name:
                element.filename = name
        for name in names[len(strip.elements) :]:
            strip.elements.append(name)
        refresh(strip)

    def _ready(self) -> int:
        """How many timeline frames can be shown without a gap."""
        missing = (position for position, index in enumerate(self._elements) if index not in self._arrived)
        return next(missing, len(self._elements))

    def _new(self, scene: bpy.types.Scene) -> bpy.types.ImageStrip:
        editor = scene.sequence_editor or scene.sequence_editor_create()
        first_frame = _first_timeline_frame(self._request)
        end_reading_ahead(*editor.strips[:1])
        strip = editor.strips.new_image(
            name=self._name,
            filepath=str(self._folder / _file_name(self._elements[0])),
            channel=free_channel(editor, first_frame, first_frame + len(self._elements)),
            frame_start=first_frame,
            # A cropped window is a part of the scene's view that touches two of its sides, a padded one holds it.
            fit_method="FIT" if self._request.fit == "crop" else "FILL",
        )
        strip.directory = blender_path(self._folder)
        strip.colorspace_settings.name = colour_space(scene)[0]
        return strip


def add_take(scene: bpy.types.Scene, folder: Path, request: GenerationRequest) -> bpy.types.ImageStrip:
    """A new strip of a take's frames, over the range that they were made of; UsageError where it has none."""
    strip = GrowingStrip(scene, folder / "frames", request, folder.name).again(scene)
    if strip is None:
        raise UsageError(f"{folder.name} has no frames yet.", "Resume it, or generate again.")
    return strip


def add_beside(scene: bpy.types.Scene, takes: list[tuple[Path, GenerationRequest]]) -> None:
    """Two takes side by side, as strips of half their size that begin where the first does, and hide what lies below."""
    start = takes[0][1].start
    for (folder, request), side in zip(takes, (-1, 1)):
        length = request.end - request.start
        strip = add_take(scene, folder, msgspec.structs.replace(request, start=start, end=start + length))
        strip.blend_type = "REPLACE" if side < 0 else "ALPHA_OVER"
        strip.transform.scale_x /= 2
        strip.transform.scale_y /= 2
        strip.transform.offset_x = side * scene.render.resolution_x / 4


def find_strip(scene: bpy.types.Scene, folder: Path) -> bpy.types.ImageStrip | None:
    """The image strip that shows a folder's pictures."""
    editor = scene.sequence_editor
    wanted = Path(folder).resolve()
    for strip in editor.strips if editor else ():
        if strip.type == "IMAGE" and Path(bpy.path.abspath(strip.directory)).resolve() == wanted:
            return strip
    return None


def takes_on_strips() -> set[str]:
    """Names of the takes that strips of this file show, also where such a take is in the trash."""
    editors = [scene.sequence_editor for scene in bpy.data.scenes if scene.sequence_editor]
    strips = [strip for editor in editors for strip in editor.strips if strip.type == "IMAGE"]
    return {Path(bpy.path.abspath(strip.directory)).parent.name for strip in strips}


def refresh(strip: bpy.types.ImageStrip) -> None:
    """Show the files as they are now: Blender keeps what it read before."""
    strip.invalidate_cache("RAW")


def end_reading_ahead(*strips: bpy.types.Strip) -> None:
    """To be called before strips change, with any one of a scene. Blender 5 reads frames ahead in a thread, which looks at the
    strips while Python changes them, and crashes. To drop a cache ends it, until the Sequencer is drawn again."""
    for strip in strips:
        strip.invalidate_cache("RAW")


def survive_lost_files(editor: bpy.types.SequenceEditor) -> None:
    """Let a picture whose file is gone be nothing, instead of magenta: Blender makes that as large as the strip's element says,
    and what Python appends to a strip says any number, so that Blender ends for want of memory."""
    if editor.show_missing_media:
        editor.show_missing_media = False


def free_channel(editor: bpy.types.SequenceEditor, start: int, end: int) -> int:
    """The lowest channel above all strips that the frames [start, end) meet, so that the new one is seen.

    Where that is past the last channel: the lowest one that is free, or the last.
    """
    met = {strip.channel for strip in editor.strips if strip_start(strip) < end and strip_end(strip) > start}
    above = max(met, default=0) + 1
    if above <= HIGHEST_CHANNEL:
        return above
    return next((channel for channel in range(1, HIGHEST_CHANNEL + 1) if channel not in met), HIGHEST_CHANNEL)


def strip_start(strip: bpy.types.Strip) -> int:
    """The first frame that a strip shows. Blender 5.2 renamed it, the old name goes in 6.0."""
    return int(strip.left_handle if hasattr(strip, "left_handle") else strip.frame_final_start)


def strip_end(strip: bpy.types.Strip) -> int:
    """The frame after the last that a strip shows."""
    return int(strip.right_handle if hasattr(strip, "right_handle") else strip.frame_final_end)


def sequencer_scene(context: bpy.types.Context) -> bpy.types.Scene:
    """The scene whose strips the Sequencer shows: since Blender 5.0 the workspace names it."""
    return getattr(context.workspace, "sequencer_scene", None) or context.scene


def show_in_sequencer(context: bpy.types.Context, scene: bpy.types.Scene) -> None:
    """Where the workspace's Sequencer shows no scene at all yet (5.0 and later), show this one."""
    if hasattr(context.workspace, "sequencer_scene") and context.workspace.sequencer_scene is None:
        context.workspace.sequencer_scene = scene


def colour_space(scene: bpy.types.Scene) -> tuple[str, str]:
    """The colour space that makes a scene's Sequencer show pictures as they are, and a note where it cannot quite.

    The Sequencer passes strips through the scene's view transform. Standard leaves sRGB alone; others are undone by
    reading the files in the view's own output space, measured on renders: Filmic exactly, AgX to a level or two.
    """
    view = scene.view_settings
    name = view.view_transform
    plain = view.look == "None" and view.exposure == 0 and view.gamma == 1
    if plain and name == "Standard":
        return "sRGB", ""
    exact = "video.mp4 and the frames have the exact colours."
    if plain and name in UNDOING:
        return UNDOING[name], f"The strip undoes the scene's view transform {name} to within a few levels; {exact}"
    return "sRGB", f"The Sequencer shows the strip through the scene's colour management ({name}); {exact}"


def blender_path(folder: Path) -> str:
    """A folder as Blender writes it: relative to a saved .blend on the same drive, so that both can move."""
    folder = Path(folder).resolve()
    blend = bpy.data.filepath
    same_drive = bool(blend) and Path(blend).resolve().drive == folder.drive
    return bpy.path.relpath(str(folder)) + "/" if same_drive else f"{folder}/"


def _first_timeline_frame(request: GenerationRequest) -> int:
    return int(-(-request.start // 1))


def _file_name(index: int) -> str:
    return f"{index + 1:04d}.png"
