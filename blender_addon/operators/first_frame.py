"""A picture of the Sequencer as the first frame."""

from __future__ import annotations


import bpy
import msgspec
import numpy as np

from ...shared import png
from ...shared.errors import UsageError
from ...shared.request import GenerationRequest, check
from ..footage import SILENT, strip_frames
from ..preferences import takes_folder
from ..properties import begins_with_scene, request_of
from ..ranges import active_strip
from ..sequencer import blender_path, sequencer_scene, strip_end, strip_start
from .reporting import reports_errors

FOLDER = "first_frames"  # beside the takes


class DAS_OT_first_frame_from_strip(bpy.types.Operator):
    bl_idname = "das.first_frame_from_strip"
    bl_label = "From the active strip"
    bl_description = "Take what the Sequencer's active strip shows at the current frame as the first frame, at the video's size"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        strip = active_strip(context.scene)
        if strip is None or strip.type in SILENT:
            cls.poll_message_set("The Sequencer has no active strip with pictures")
            return False
        return True

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        settings, parent = context.scene.das, takes_folder()
        if parent is None:
            raise UsageError("This .blend has no place yet.", "Save it, or choose a takes folder in the add-on's preferences.", "save_file")
        strip, frame = active_strip(context.scene), sequencer_scene(context).frame_current
        picture = picture_of(strip, frame, check(request_of(context.scene)))
        file = parent / FOLDER / f"{bpy.path.clean_name(strip.name)}-{frame}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(png.encode(picture))
        path = blender_path(file.parent) + file.name
        if begins_with_scene(settings):
            settings.first_frame, settings.first_frame_path = "file", path
        else:
            settings.tasks.look = path
        return {"FINISHED"}


def picture_of(strip: bpy.types.Strip, frame: int, request: GenerationRequest) -> np.ndarray:
    """u8 [H,W,3] of the request's size: the strip at a frame of the timeline, or at its nearest."""
    nearest = min(max(frame, strip_start(strip)), strip_end(strip) - 1)
    moment = msgspec.structs.replace(request, start=nearest, end=nearest, frames=9)
    return strip_frames(strip.id_data, strip, moment).frames[0]


CLASSES = (DAS_OT_first_frame_from_strip,)
