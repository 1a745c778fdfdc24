"""Preview tracking, Generate, Cancel, and the choice among repainted first frames."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import StringProperty

from ...shared.errors import UsageError
from ...shared.request import check
from ...shared.take import new_take_folder
from ..footage import in_own_frames
from ..preferences import takes_folder
from ..properties import begins_with_scene, request_of
from ..runner import runner
from ..sequencer import sequencer_scene, show_in_sequencer
from ..take_jobs import Purpose, TakeJob
from ..task_jobs import job_of
from ..task_properties import OFF
from .reporting import reports_errors


class _StartsJob:
    """An operator that hands a job to the runner and returns at once."""

    bl_options = {"REGISTER"}
    purpose: Purpose = "generate"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene.camera is None and begins_with_scene(context.scene.das):
            cls.poll_message_set("The scene has no camera")
            return False
        return True

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        runner.start(self._job(context))
        return {"FINISHED"}

    def _job(self, context: bpy.types.Context) -> TakeJob:
        scene, request = context.scene, request_of(context.scene)
        request = check(in_own_frames(scene, request, keep_range=scene.das.range == "custom"))
        parent = takes_folder()
        if parent is None:
            raise UsageError("This .blend has no place yet.", "Save it, or choose a takes folder in the add-on's preferences.")
        name = Path(bpy.data.filepath).stem or "untitled"
        strip_scene = sequencer_scene(context) if scene.das.show_strip else None
        if strip_scene:
            show_in_sequencer(context, strip_scene)
        return job_of(scene, request, new_take_folder(parent, name), self.purpose, strip_scene=strip_scene)


class DAS_OT_preview_tracking(_StartsJob, bpy.types.Operator):
    bl_idname = "das.preview_tracking"
    bl_label = "Preview tracking"
    bl_description = "Make the tracking video of the range and show it as a strip, without generating anything"
    purpose = "preview"


class DAS_OT_generate(_StartsJob, bpy.types.Operator):
    bl_idname = "das.generate"
    bl_label = "Generate"
    bl_description = "Make the video: capture the range, draw its tracking, and let the engine's frames grow as a strip. While another runs, it is queued"
    purpose = "generate"


class DAS_OT_cancel(bpy.types.Operator):
    bl_idname = "das.cancel"
    bl_label = "Cancel"
    bl_description = "Stop the running job. What has arrived stays in its take, which can be taken up again"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return runner.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        runner.cancel()
        return {"FINISHED"}


class DAS_OT_use_candidate(bpy.types.Operator):
    bl_idname = "das.use_candidate"
    bl_label = "Use this one"
    bl_description = "Begin the next video with this picture, and paint no more of them"
    bl_options = {"REGISTER", "UNDO"}

    file: StringProperty(name="File", description="The picture's file", subtype="FILE_PATH")

    def execute(self, context: bpy.types.Context) -> set[str]:
        settings = context.scene.das
        if begins_with_scene(settings):
            settings.first_frame, settings.first_frame_path = "file", self.file
        else:
            settings.tasks.look = self.file
        settings.tasks.repaint = OFF
        return {"FINISHED"}
