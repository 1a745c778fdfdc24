"""The box of what is written: size, frames, and files for other tools."""

from __future__ import annotations

import bpy

from .sidebar import _InSidebar


class DAS_PT_output(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_output"
    bl_label = "Output"
    bl_parent_id = "DAS_PT_sidebar"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        settings, layout = context.scene.das, self._columns()
        size = layout.column(align=True)
        size.prop(settings, "width")
        size.prop(settings, "height")
        drawn_here = ("hidden", "background") if settings.task == "mesh_to_video" else ()
        for name in ("frames", "fit", *drawn_here, "show_strip"):
            layout.prop(settings, name)
        if settings.task == "mesh_to_video":
            layout.column(align=True).prop(settings, "write")
            if "tracks" in settings.write:
                layout.prop(settings, "points")
