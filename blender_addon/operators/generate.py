"""Preview tracking, Projection preview, Generate, Cancel, and the choice among repainted first frames."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import bpy
import msgspec
from bpy.props import StringProperty

from ...shared.errors import UsageError
from ...shared.request import FirstFrame, GenerationRequest, check
from ...shared.task_settings import Repaint
from ...shared.take import new_take_folder
from ..footage import in_own_frames
from ..preferences import takes_folder
from ..properties import MAX_SEED, begins_with_scene, request_of
from ..queue_view import queue
from ..runner import runner
from ..sequencer import sequencer_scene, show_in_sequencer, takes_on_strips
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
        for job in self._jobs(context):
            runner.start(job)
        queue.watch()
        return {"FINISHED"}

    def _jobs(self, context: bpy.types.Context) -> list[TakeJob]:
        return [self._job(context, self._request(context))]

    def _request(self, context: bpy.types.Context) -> GenerationRequest:
        scene = context.scene
        return check(in_own_frames(scene, request_of(scene), keep_range=scene.das.range == "custom"))

    def _job(self, context: bpy.types.Context, request: GenerationRequest, siblings: Sequence[TakeJob] = ()) -> TakeJob:
        parent = takes_folder()
        if parent is None:
            fix = "Save it, or choose a takes folder in the add-on's preferences."
            raise UsageError("This .blend has no place yet.", fix, "save_file")
        name = Path(bpy.data.filepath).stem or "untitled"
        strip_scene = sequencer_scene(context) if context.scene.das.show_strip else None
        if strip_scene:
            show_in_sequencer(context, strip_scene)
        folder = new_take_folder(parent, name, takes_on_strips())
        return job_of(context.scene, request, folder, self.purpose, strip_scene=strip_scene, siblings=siblings)


class DAS_OT_preview_tracking(_StartsJob, bpy.types.Operator):
    bl_idname = "das.preview_tracking"
    bl_label = "Preview tracking"
    bl_description = "Make the tracking video of the range and show it as a strip, without generating anything"
    purpose = "preview"


class DAS_OT_projection_preview(_StartsJob, bpy.types.Operator):
    bl_idname = "das.projection_preview"
    bl_label = "Projection preview"
    bl_description = (
        "Make the video at half size by projection, in seconds: it shows what moves, what comes into view and what is torn, but not "
        "what the model would paint. A first frame that is rendered comes from Workbench"
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene.das.task != "mesh_to_video":
            cls.poll_message_set("Only the scene's own surfaces are projected at once; choose the engine Projection and generate")
            return False
        return super().poll(context)

    def _request(self, context: bpy.types.Context) -> GenerationRequest:
        return as_draft(super()._request(context))


class DAS_OT_generate(_StartsJob, bpy.types.Operator):
    bl_idname = "das.generate"
    bl_label = "Generate"
    bl_description = "Make the video: capture the range, draw its tracking, and let the engine's frames grow as a strip. While another runs, it is queued"
    bl_options = {"REGISTER", "UNDO"}
    purpose = "generate"

    def _jobs(self, context: bpy.types.Context) -> list[TakeJob]:
        """A job a seed. One that is drawn is written back once nothing has gone wrong."""
        settings, request = context.scene.das, self._request(context)
        seed = settings.seed if settings.lock_seed else random.randint(0, MAX_SEED - settings.variations)
        jobs: list[TakeJob] = []
        for number in range(settings.variations):
            siblings = () if request.repaint.model else jobs  # each seed paints a first frame of its own
            jobs.append(self._job(context, msgspec.structs.replace(request, seed=seed + number), siblings))
        settings.seed = seed
        return jobs


def as_draft(request: GenerationRequest) -> GenerationRequest:
    """The request by projection and at half size, with a first frame that takes no time; an image file keeps its size."""
    draft = msgspec.structs.replace(request, engine="projection", repaint=Repaint(), write=())
    if request.first_frame.source == "file":
        return draft
    width, height = (max(16, side // 32 * 16) for side in (request.width, request.height))
    return msgspec.structs.replace(draft, width=width, height=height, first_frame=FirstFrame(source="workbench"))


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
