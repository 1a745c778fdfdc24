"""The boxes of the model: what may be given up for speed, and below it all its settings."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..preferences_backend import lacks_model
from ..properties import engine_of
from .lines import draw_lines, line_length
from .sidebar import _InSidebar

ADVANCED = ("steps", "guidance", "guidance_scale", "scheduler", "memory_plan", "weights", "from_base", "tracking_range", "image_latent_scale")


class DAS_PT_quality(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_quality"
    bl_label = "Quality"
    bl_parent_id = "DAS_PT_sidebar"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return engine_of(context.scene) == "das"

    def draw(self, context: bpy.types.Context) -> None:
        settings = context.scene.das
        if lacks_model():
            column = self.layout.column(align=True)
            draw_lines(column, "The backend is installed for projection only.", line_length(context), "ERROR")
            column.operator("das.show_preferences", text="Backend in Preferences", icon="TOOL_SETTINGS")
        self.layout.row().prop(settings, "quality", expand=True)
        chosen = iface_("{steps} steps, memory plan {plan}").format(steps=settings.steps, plan=settings.memory_plan)
        self.layout.label(text=chosen, translate=False)


class DAS_PT_advanced(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_advanced"
    bl_label = "Advanced"
    bl_parent_id = "DAS_PT_quality"
    bl_options = {"DEFAULT_CLOSED"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return DAS_PT_quality.poll(context)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self._columns()
        for name in ADVANCED:
            layout.prop(context.scene.das, name)


CLASSES = (DAS_PT_quality, DAS_PT_advanced)
