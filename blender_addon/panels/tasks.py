"""The boxes of the single tasks: the picture or video, the camera's path, the object's motion, how points are followed."""

from __future__ import annotations

import bpy

from ...shared.camera_motion import parse_motion
from ...shared.errors import UsageError
from ..sequencer import sequencer_scene
from .first_frame import draw_picture
from .lines import draw_lines, line_length
from .sidebar import _InSidebar

WEIGHED = ("depth_anything", "moge")


class _OfTask(_InSidebar):
    """A box below the main one that is there for some tasks only."""

    bl_parent_id = "DAS_PT_sidebar"
    tasks: tuple[str, ...] = ()

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.scene.das.task in cls.tasks


class DAS_PT_picture(_OfTask, bpy.types.Panel):
    bl_idname = "DAS_PT_picture"
    bl_label = "Picture"
    tasks = ("camera_control", "object_manipulation")

    def draw(self, context: bpy.types.Context) -> None:
        tasks, layout = context.scene.das.tasks, self._columns()
        layout.prop(tasks, "picture", text="Source")
        if tasks.picture != "scene":
            _draw_file(layout, context, tasks.picture)
            layout.prop(tasks, "look")
            draw_picture(layout, tasks.look)
        layout.prop(tasks, "depth")
        if tasks.depth in WEIGHED:
            layout.prop(tasks, "depth_weights", text="Weights")


class DAS_PT_video(_OfTask, bpy.types.Panel):
    bl_idname = "DAS_PT_video"
    bl_label = "Video"
    tasks = ("motion_transfer",)

    def draw(self, context: bpy.types.Context) -> None:
        tasks, layout = context.scene.das.tasks, self._columns()
        layout.prop(tasks, "video", text="Source")
        _draw_file(layout, context, tasks.video)
        layout.prop(tasks, "look")
        draw_picture(layout, tasks.look)
        layout.prop(tasks, "tracker")
        if tasks.tracker == "file":
            layout.prop(tasks, "tracks")
        else:
            layout.prop(tasks, "grid")


class DAS_PT_camera_control(_OfTask, bpy.types.Panel):
    bl_idname = "DAS_PT_camera_control"
    bl_label = "Camera Path"
    tasks = ("camera_control",)

    def draw(self, context: bpy.types.Context) -> None:
        settings, layout = context.scene.das, self._columns()
        tasks = settings.tasks
        layout.prop(tasks, "path")
        if tasks.path == "words":
            layout.prop(tasks, "words")
            _draw_mistake(layout, context, tasks.words, settings.frames)
            layout.prop(tasks, "order")
        if tasks.path == "file":
            layout.prop(tasks, "path_file", text="File")
        if tasks.picture != "scene":
            layout.prop(tasks, "onto")


class DAS_PT_object(_OfTask, bpy.types.Panel):
    bl_idname = "DAS_PT_object"
    bl_label = "Object"
    tasks = ("object_manipulation",)

    def draw(self, context: bpy.types.Context) -> None:
        tasks, layout = context.scene.das.tasks, self._columns()
        layout.prop(tasks, "mask")
        layout.prop(tasks, {"object": "object", "file": "mask_file", "point": "click"}[tasks.mask])
        layout.prop(tasks, "motion")
        if tasks.motion == "follow":
            layout.prop(tasks, "follow")
        elif tasks.motion == "path":
            layout.prop(tasks, "motion_file", text="File")
        else:
            layout.prop(tasks, "distance", text="Degrees" if tasks.motion == "rot" else "Pixels")


def _draw_file(layout: bpy.types.UILayout, context: bpy.types.Context, kind: str) -> None:
    """A file, or a strip of the Sequencer that the workspace shows."""
    tasks = context.scene.das.tasks
    if kind == "file":
        layout.prop(tasks, "file")
        return
    editor = sequencer_scene(context).sequence_editor
    if editor:
        layout.prop_search(tasks, "strip", editor, "strips_all", text="Strip", icon="SEQUENCE")
    else:
        layout.label(text="The Sequencer has no strips.", icon="INFO")


def _draw_mistake(layout: bpy.types.UILayout, context: bpy.types.Context, words: str, frames: int) -> None:
    """What is wrong with a motion, while it is written."""
    try:
        parse_motion(words, frames)
    except UsageError as error:
        column = layout.column(align=True)
        column.alert = True
        draw_lines(column, str(error), line_length(context), "ERROR")


CLASSES = (DAS_PT_picture, DAS_PT_video, DAS_PT_camera_control, DAS_PT_object)
