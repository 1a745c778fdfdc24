"""The box of the queue: what runs and what waits, here and at the backend, and what can be tried again."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..history import history
from ..queue_view import ended, others, queue, take_jobs
from ..stepwise import Step
from ..take_jobs import TakeJob
from .lines import draw_progress
from .sidebar import _InSidebar
from .thumbnails import icon_of_picture

TITLE = 0.35  # of the width


class DAS_PT_queue(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_queue"
    bl_label = "Queue"
    bl_parent_id = "DAS_PT_sidebar"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return bool(take_jobs() or others() or ended())

    def draw(self, context: bpy.types.Context) -> None:
        history.look()
        column = self.layout.column()
        for job in take_jobs():
            _draw_own(column, job)
        for info in others():
            row = _row(column, info.job, info.title or "Untitled")
            progress = Step(info.progress.phase, info.progress.step, info.progress.total, info.progress.eta) if info.progress else None
            _draw_state(row, info.state, progress)
            _draw_moves(row, info.job, info.position)
            row.operator("das.cancel_queued", text="", icon="CANCEL").job = info.job
        for entry in ended():
            row = column.row(align=True)
            row.label(text=f"{entry.name}: {iface_(entry.record.state)}", translate=False, icon_value=icon_of_picture(entry.picture))
            row.operator("das.resume_take", text="Retry", icon="FILE_REFRESH").folder = str(entry.folder)


def _draw_own(column: bpy.types.UILayout, job: TakeJob) -> None:
    name = job.take.record.job if job.take else ""
    info = next((each for each in queue.jobs if each.job == name), None)
    row = _row(column, name, job.folder.name)
    _draw_state(row, info.state if info else "", job.progress)
    if info:
        _draw_moves(row, info.job, info.position)
    cross = row.row()
    cross.enabled = not job.renders  # Esc ends it then, and Blender locks its buttons
    cross.operator("das.cancel_queued", text="", icon="CANCEL").folder = str(job.folder)


def _row(column: bpy.types.UILayout, job: str, title: str) -> bpy.types.UILayout:
    entry = history.of_job(job)
    split = column.split(factor=TITLE, align=True)
    split.label(text=title, icon_value=icon_of_picture(entry.picture if entry else None))
    return split.row(align=True)


def _draw_state(row: bpy.types.UILayout, state: str, progress: Step | None) -> None:
    if state == "queued" or progress is None:
        row.label(text="Waits")
        return
    draw_progress(row, progress)


def _draw_moves(row: bpy.types.UILayout, job: str, position: int) -> None:
    """Arrows, where a job waits and there is a place to go to."""
    last = max((each.position for each in queue.jobs), default=-1)
    for icon, place in (("TRIA_UP", position - 1), ("TRIA_DOWN", position + 1)):
        if position >= 0 and 0 <= place <= last:
            button = row.operator("das.move_queued", text="", icon=icon)
            button.job, button.position = job, place


CLASSES = (DAS_PT_queue,)
