"""The box of the repainted first frame, and the pictures to choose from."""

from __future__ import annotations

import bpy

from ..runner import runner
from ..task_properties import OFF
from .sidebar import _InSidebar
from .thumbnails import icon_of

PICTURES_A_ROW = 2
SIZE = 6.0  # of a thumbnail, in widget heights


class DAS_PT_repaint(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_repaint"
    bl_label = "Repaint"
    bl_parent_id = "DAS_PT_sidebar"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        tasks, layout = context.scene.das.tasks, self._columns()
        layout.prop(tasks, "repaint")
        if tasks.repaint != OFF:
            for name in ("strength", "candidates", "repaint_steps", "repaint_weights"):
                layout.prop(tasks, name)
        if tasks.repaint == "sdxl":
            layout.prop(tasks, "repaint_base")


class DAS_PT_candidates(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_candidates"
    bl_label = "Painted First Frames"
    bl_parent_id = "DAS_PT_sidebar"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(runner.candidates)

    def draw(self, context: bpy.types.Context) -> None:
        grid = self.layout.grid_flow(row_major=True, columns=PICTURES_A_ROW, even_columns=True)
        for file in runner.candidates:
            box = grid.box()
            box.template_icon(icon_value=icon_of(file), scale=SIZE)
            box.operator("das.use_candidate").file = str(file)


CLASSES = (DAS_PT_repaint, DAS_PT_candidates)
