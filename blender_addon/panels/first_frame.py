"""The box of the first frame, and what it looks like."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ...shared.request import GenerationRequest
from ..history import Entry, history
from ..properties import begins_with_scene
from ..task_properties import OFF
from .sidebar import _InSidebar
from .thumbnails import icon_of, icon_of_picture

SIZE = 6.0  # of the thumbnail, in widget heights


class DAS_PT_first_frame(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_first_frame"
    bl_label = "First Frame"
    bl_parent_id = "DAS_PT_sidebar"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return begins_with_scene(context.scene.das)

    def draw(self, context: bpy.types.Context) -> None:
        settings, layout = context.scene.das, self._columns()
        layout.prop(settings, "first_frame", text="Source")
        if settings.first_frame == "cycles":
            layout.prop(settings, "first_frame_samples")
        if settings.first_frame == "file":
            layout.prop(settings, "first_frame_path")
            draw_picture(layout, settings.first_frame_path)
        else:
            history.look()
            _draw_latest(layout, latest_made(settings))
        layout.operator("das.first_frame_from_strip", icon="SEQUENCE")


def draw_picture(layout: bpy.types.UILayout, path: str) -> None:
    """The thumbnail of an image, where there is one."""
    file = Path(bpy.path.abspath(path))
    if path and file.is_file():
        layout.template_icon(icon_value=icon_of(file), scale=SIZE)


def latest_made(settings: bpy.types.PropertyGroup) -> Entry | None:
    """The newest take whose first frame was made in the way that is chosen now."""
    wanted = settings.task, settings.first_frame, settings.tasks.repaint != OFF
    made = (entry for entry in history.entries.values() if entry.picture and entry.picture.file.name == "first_frame.png")
    return next((entry for entry in made if _way(entry.request) == wanted), None)


def _way(request: GenerationRequest) -> tuple[str, str, bool]:
    return request.task, request.first_frame.source, bool(request.repaint.model)


def _draw_latest(layout: bpy.types.UILayout, entry: Entry | None) -> None:
    if entry:
        layout.template_icon(icon_value=icon_of_picture(entry.picture), scale=SIZE)
        layout.label(text=iface_("As made for {}").format(entry.name), translate=False)
