"""The box of the first frame, and what it looks like."""

from __future__ import annotations

from pathlib import Path

import bpy

from ..properties import begins_with_scene
from .sidebar import _InSidebar
from .thumbnails import icon_of

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
            if icon := icon_of(Path(bpy.path.abspath(settings.first_frame_path))):
                layout.template_icon(icon_value=icon, scale=SIZE)
        layout.operator("das.first_frame_from_strip", icon="SEQUENCE")
