"""The live preview: seen in the Image Editor, and kept as it is."""

from __future__ import annotations

import bpy

from ..areas import areas_of
from ..live_preview import LivePreview
from ..runner import runner
from ..take_jobs import TakeJob


class _OnThePreview:
    """An operator that needs a live preview."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if previewed_job() is None:
            cls.poll_message_set("No engine shows a live preview now")
            return False
        return True


class DAS_OT_keep_preview(_OnThePreview, bpy.types.Operator):
    bl_idname = "das.keep_preview"
    bl_label = "Keep this"
    bl_description = "Stop the generation here, and make what the live preview shows the take's frames"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        previewed_job().keep_preview()
        return {"FINISHED"}


class DAS_OT_show_live_preview(_OnThePreview, bpy.types.Operator):
    bl_idname = "das.show_live_preview"
    bl_label = "Show in Image Editor"
    bl_description = "Let the largest Image Editor that is open play the live preview"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        area = max(areas_of("IMAGE_EDITOR"), key=lambda area: area.width * area.height, default=None)
        if area is None:
            self.report({"WARNING"}, "No Image Editor is open. Change an area into one first.")
            return {"CANCELLED"}
        shown_preview().show_in(area)
        return {"FINISHED"}


def previewed_job() -> TakeJob | None:
    """The job whose live preview there is."""
    jobs = (job for job in runner.jobs if isinstance(job, TakeJob) and job.preview)
    return next((job for job in jobs if job.preview.pictures is not None), None)


def shown_preview() -> LivePreview | None:
    """The live preview that there is."""
    job = previewed_job()
    return job.preview if job else None


CLASSES = (DAS_OT_keep_preview, DAS_OT_show_live_preview)
