"""What can be done with jobs that run or wait."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import IntProperty, StringProperty

from ..queue_view import job_of_take, queue
from ..runner import runner


class DAS_OT_cancel_queued(bpy.types.Operator):
    bl_idname = "das.cancel_queued"
    bl_label = "Cancel"
    bl_description = "Stop this job, or take it out of the queue. What has arrived stays in its take, which can be resumed"
    bl_options = {"REGISTER"}

    folder: StringProperty(name="Folder", description="The folder of the take that this Blender writes", options={"SKIP_SAVE"})
    job: StringProperty(name="Job", description="The backend's name of any other job", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        own = job_of_take(Path(self.folder)) if self.folder else None
        if own:
            runner.cancel(own)
        elif self.job:
            queue.cancel(self.job)
        return {"FINISHED"}


class DAS_OT_move_queued(bpy.types.Operator):
    bl_idname = "das.move_queued"
    bl_label = "Move"
    bl_description = "Let this job come earlier or later among those that wait"
    bl_options = {"REGISTER"}

    job: StringProperty(name="Job", description="The backend's name of the job")
    position: IntProperty(name="Position", description="Where among the waiting jobs; 0 comes next", min=0)

    def execute(self, context: bpy.types.Context) -> set[str]:
        queue.move(self.job, self.position)
        return {"FINISHED"}


CLASSES = (DAS_OT_cancel_queued, DAS_OT_move_queued)
