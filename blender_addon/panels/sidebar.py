"""The tab DaS in the sidebar of the 3D viewport; the Sequencer's has the same (:mod:`twins`)."""

from __future__ import annotations

import bpy

from ..mending import draw_mending
from ..preferences_backend import draw_upkeep
from ..properties import begins_with_scene
from ..runner import runner
from ..upkeep import upkeep
from .lines import draw_lines, draw_progress, line_length
from .prompts import draw_prompt


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
        draw_prompt(layout.column(align=True), settings)
        layout.prop(settings, "engine")
        _draw_range(layout, settings)
        _draw_seed(layout, settings)
        _draw_actions(layout, context.scene)
        _draw_state(layout, context)


def _draw_range(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    layout.prop(settings, "range")
    if settings.range == "custom":
        pair = layout.column(align=True)
        pair.prop(settings, "start")
        pair.prop(settings, "end")
    elif settings.task != "mesh_to_video" and not begins_with_scene(settings):
        layout.label(text="Of a video all frames are used.", icon="INFO")


def _draw_seed(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    column = layout.column(align=True)
    row = column.row(align=True)
    row.prop(settings, "seed")
    row.prop(settings, "lock_seed", text="", icon="LOCKED" if settings.lock_seed else "UNLOCKED")
    column.prop(settings, "variations")


def _draw_actions(layout: bpy.types.UILayout, scene: bpy.types.Scene) -> None:
    buttons = layout.column(align=True)
    if scene.camera is None and begins_with_scene(scene.das):
        buttons.label(text="The scene has no camera.", icon="ERROR")
        buttons.operator("das.find_camera", icon="CAMERA_DATA")
    buttons.operator("das.preview_tracking", icon="TRACKING")
    buttons.operator("das.projection_preview", icon="PLAY")
    buttons.operator("das.generate", icon="RENDER_ANIMATION")


def _draw_state(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    """Progress and Cancel while a job runs, else how the last one ended, with what mends or reports it."""
    if runner.running:
        row = layout.row(align=True)
        draw_progress(row, runner.progress)
        if runner.renders:  # Blender locks its buttons meanwhile
            row.label(text="", icon="EVENT_ESC")
            row.separator(factor=2)  # the icon is the key, and wider than others
            row.label(text="cancels")
        else:
            row.operator("das.cancel", text="", icon="CANCEL")
    if runner.message:
        box = layout.box()
        column = box.column(align=True)
        column.alert = runner.failed
        draw_lines(column, runner.message, line_length(context), "ERROR" if runner.failed else "CHECKMARK")
        draw_lines(column, runner.fix, line_length(context), "BLANK1")
        if runner.failed:
            draw_mending(box, runner.action)
    if upkeep.running or (upkeep.message and runner.action == "install_backend"):
        draw_upkeep(layout, line_length(context))
