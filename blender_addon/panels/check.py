"""The box that says whether the shot can work, with a button beside what can be mended."""

from __future__ import annotations

import textwrap
import time

import bpy

from ...shared.errors import DasError
from ...shared.preflight import Finding
from ..preflight import Check
from ..properties import request_of
from ..runner import runner
from .sidebar import _InSidebar

ICONS = {"block": "CANCEL", "warning": "ERROR", "info": "INFO"}
PIXELS_A_CHARACTER = 7.0
PIXELS_BESIDE = 55  # the icon and the box around it
FEWEST_CHARACTERS = 24


class DAS_PT_check(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_check"
    bl_label = "Pre-flight"
    bl_parent_id = "DAS_PT_sidebar"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self._columns()
        row = layout.row(align=True)
        row.operator("das.check_shot", icon="CHECKMARK")
        row.operator("das.check_shot", text="With first frame").with_first_frame = True
        check = runner.check
        if check and check.report and check.scene_uid == context.scene.session_uid:
            _draw_report(layout, context, check)


def _draw_report(layout: bpy.types.UILayout, context: bpy.types.Context, check: Check) -> None:
    request, characters = check.report.request, _characters(context)
    state = "out of date" if is_out_of_date(context.scene, check) else ago(time.time() - check.report.ended)
    layout.label(text=f"Frames {request.start:g}:{request.end:g}, {state}")
    if not check.report.findings:
        layout.label(text=check.report.summary(), icon="CHECKMARK")
    for finding in check.report.findings:
        _draw_finding(layout.box(), finding, characters)


def _draw_finding(box: bpy.types.UILayout, finding: Finding, characters: int) -> None:
    column = box.column(align=True)
    column.alert = finding.severity == "block"
    _draw_lines(column, finding.message, characters, ICONS[finding.severity])
    if finding.fix:
        _draw_lines(box.column(align=True), finding.fix, characters, "BLANK1")
    if finding.operator:
        button = box.operator(finding.operator, icon="TOOL_SETTINGS")
        for name, value in finding.options.items():
            setattr(button, name, value)


def _draw_lines(column: bpy.types.UILayout, text: str, characters: int, icon: str) -> None:
    """A label for each line: Blender's own does not wrap."""
    for index, line in enumerate(textwrap.wrap(text, characters)):
        column.label(text=line, icon=icon if index == 0 else "BLANK1")


def _characters(context: bpy.types.Context) -> int:
    """How many characters fit beside the icon."""
    width = context.region.width if context.region else 300
    scale = context.preferences.system.ui_scale or 1.0  # 0 where Blender has no window
    return max(FEWEST_CHARACTERS, int((width / scale - PIXELS_BESIDE) / PIXELS_A_CHARACTER))


def is_out_of_date(scene: bpy.types.Scene, check: Check) -> bool:
    """Have settings changed since, or was something mended?"""
    try:
        return check.mended or request_of(scene) != check.report.request
    except DasError:  # a preview range that is gone
        return True


def ago(seconds: float) -> str:
    """'just now', '3 minutes ago'."""
    minutes = int(seconds // 60)
    if minutes < 1:
        return "checked just now"
    return f"checked {minutes} minute{'s' if minutes > 1 else ''} ago"
