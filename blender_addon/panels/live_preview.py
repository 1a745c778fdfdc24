"""The box of the live preview."""

from __future__ import annotations

import bpy

from ..operators.live_preview import shown_preview
from .sidebar import _InSidebar
from .thumbnails import icon_of_pixels

SIZE = 8.0  # in widget heights


class DAS_PT_live_preview(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_live_preview"
    bl_label = "Live Preview"
    bl_parent_id = "DAS_PT_sidebar"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return shown_preview() is not None

    def draw(self, context: bpy.types.Context) -> None:
        preview, column = shown_preview(), self.layout.column(align=True)
        column.template_icon(icon_value=icon_of_pixels("live preview", preview.pictures[preview.number]), scale=SIZE)
        column.operator("das.keep_preview", icon="CHECKMARK")
        column.operator("das.show_live_preview", icon="IMAGE")


CLASSES = (DAS_PT_live_preview,)
