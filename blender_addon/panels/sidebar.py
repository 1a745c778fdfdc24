"""The tab DaS in the 3D viewport's sidebar."""

from __future__ import annotations

import bpy

from ..properties import begins_with_scene, engine_of
from ..runner import runner


class _InSidebar:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "DaS"

    def _columns(self) -> bpy.types.UILayout:
        self.layout.use_property_split = True
        self.layout.use_property_decorate = False
        return self.layout


class DAS_PT_sidebar(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_sidebar"
    bl_label = "Diffusion as Shader"

    def draw(self, context: bpy.types.Context) -> None:
        settings, layout = context.scene.das, self._columns()
        layout.prop(settings, "task")
        layout.prop(settings, "prompt")
        layout.prop(settings, "engine")
        layout.prop(settings, "range")
        if settings.range == "custom":
            pair = layout.column(align=True)
            pair.prop(settings, "start")
            pair.prop(settings, "end")
        elif settings.task != "mesh_to_video" and not begins_with_scene(settings):
            layout.label(text="Of a video all frames are used.", icon="INFO")
        _draw_actions(layout)
        _draw_state(layout)


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
        for name in ("frames", "fit", *drawn_here, "negative_prompt", "seed", "show_strip"):
            layout.prop(settings, name)
        if engine_of(context.scene) == "das":
            model = layout.column(align=True)
            for name in ("steps", "guidance_scale", "quality", "weights"):
                model.prop(settings, name)
        if settings.task == "mesh_to_video":
            layout.column(align=True).prop(settings, "write")
            if "tracks" in settings.write:
                layout.prop(settings, "points")


def _draw_actions(layout: bpy.types.UILayout) -> None:
    buttons = layout.column(align=True)
    buttons.operator("das.preview_tracking", icon="TRACKING")
    buttons.operator("das.generate", icon="RENDER_ANIMATION")


def _draw_state(layout: bpy.types.UILayout) -> None:
    """Progress and Cancel while a job runs, else how the last one ended."""
    if runner.running:
        phase, step, total, eta = runner.progress
        left = f", about {eta:.0f} s left" if eta else ""
        row = layout.row(align=True)
        row.progress(factor=step / max(total, 1), text=f"{phase.capitalize()} {step}/{total}{left}")
        row.operator("das.cancel", text="", icon="CANCEL")
    elif runner.message:
        box = layout.box()
        box.alert = runner.failed
        box.label(text=runner.message, icon="ERROR" if runner.failed else "CHECKMARK")
        if runner.fix:
            box.label(text=runner.fix)
