"""The box that says whether the shot can work, with a button beside what can be mended."""

from __future__ import annotations

import time

import bpy
from bpy.app.translations import pgettext_iface as iface_
import msgspec

from ...shared.errors import DasError
from ...shared.preflight import Finding
from ...shared.request import GenerationRequest
from ..preflight import Check
from ..properties import request_of
from ..runner import runner
from .lines import draw_lines, line_length
from .sidebar import _InSidebar

ICONS = {"block": "CANCEL", "warning": "ERROR", "info": "INFO"}


class DAS_PT_check(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_check"
    bl_label = "Pre-flight"
    bl_parent_id = "DAS_PT_sidebar"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return context.scene.das.task == "mesh_to_video"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self._columns()
        row = layout.row(align=True)
        row.operator("das.check_shot", icon="CHECKMARK")
        row.operator("das.check_shot", text="With first frame").with_first_frame = True
        check = runner.check
        if check and check.report and check.scene_uid == context.scene.session_uid:
            _draw_report(layout, context, check)


def _draw_report(layout: bpy.types.UILayout, context: bpy.types.Context, check: Check) -> None:
    request, characters = check.report.request, line_length(context)
    state = iface_("out of date") if is_out_of_date(context.scene, check) else ago(time.time() - check.report.ended)
    frames = iface_("Frames {:g}:{:g}").format(request.start, request.end)
    layout.label(text=f"{frames}, {state}", translate=False)
    if not check.report.findings:
        layout.label(text=check.report.summary(), icon="CHECKMARK")
    for finding in check.report.findings:
        _draw_finding(layout.box(), finding, characters)


def _draw_finding(box: bpy.types.UILayout, finding: Finding, characters: int) -> None:
    column = box.column(align=True)
    column.alert = finding.severity == "block"
    draw_lines(column, finding.message, characters, ICONS[finding.severity])
    if finding.fix:
        draw_lines(box.column(align=True), finding.fix, characters, "BLANK1")
    if finding.operator:
        button = box.operator(finding.operator, icon="TOOL_SETTINGS")
        for name, value in finding.options.items():
            setattr(button, name, value)


def is_out_of_date(scene: bpy.types.Scene, check: Check) -> bool:
    """Have settings changed since that a check looks at, or was something mended?"""
    try:
        return check.mended or _looked_at(request_of(scene)) != _looked_at(check.report.request)
    except DasError:  # a preview range that is gone
        return True


def _looked_at(request: GenerationRequest) -> GenerationRequest:
    """Without words and seed, which change from one Generate to the next."""
    return msgspec.structs.replace(request, prompt="", negative_prompt="", seed=0)


def ago(seconds: float) -> str:
    """'just now', '3 minutes ago'."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return iface_("checked just now")
    return iface_("checked 1 minute ago") if minutes == 1 else iface_("checked {} minutes ago").format(minutes)
