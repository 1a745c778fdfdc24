"""A folder of pictures as an image sequence in the Image Editors that are open."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..shared.request import GenerationRequest
from .areas import areas_of
from .sequencer import blender_path

FRESH = ("GENERATED", "MOVIE", "FILE", "SEQUENCE")  # what may be replaced; a render result may not


def show_in_image_editors(folder: Path, name: str, request: GenerationRequest) -> bpy.types.Image | None:
    """Let each Image Editor play a take's pictures 0001.png, ... from the range's first frame on; None where none is open.

    A render, a viewer or a picture that is painted stays where it is.
    """
    editors = [area.spaces.active for area in areas_of("IMAGE_EDITOR") if _may_show(area.spaces.active)]
    if not editors:
        return None
    image = bpy.data.images.get(name) or bpy.data.images.load(str(folder / "0001.png"))
    image.name, image.source = name, "SEQUENCE"
    image.filepath = blender_path(folder) + "0001.png"
    for space in editors:
        space.image = image
        user = space.image_user
        user.frame_duration, user.frame_start, user.frame_offset = request.frames, round(request.start), 0
        user.use_auto_refresh = user.use_cyclic = True
    return image


def _may_show(space: bpy.types.SpaceImageEditor) -> bool:
    return space.image is None or (space.image.source in FRESH and not space.image.is_dirty and space.mode == "VIEW")
