"""The box of the camera: moves, and paths in files."""

from __future__ import annotations

import bpy

from .sidebar import _InSidebar


class DAS_PT_camera(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_camera"
    bl_label = "Camera"
    bl_parent_id = "DAS_PT_sidebar"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self._columns()
        layout.prop(context.scene, "camera")
        layout.operator("das.add_camera_motion", icon="ANIM")
        row = layout.row(align=True)
        row.operator("das.import_camera_path", text="Import path", icon="IMPORT")
        row.operator("das.export_camera_path", text="Export path", icon="EXPORT")
