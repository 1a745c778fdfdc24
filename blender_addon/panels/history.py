"""The box of the takes of this .blend."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_
import msgspec

from ..history import Entry, history
from .lines import draw_lines, line_length
from .sidebar import _InSidebar
from .thumbnails import icon_of_picture

ROWS = 5
SIZE = 7.0  # of the chosen take's picture, in widget heights
ICONS = {
    "prepared": "TRACKING",
    "queued": "SORTTIME",
    "running": "PLAY",
    "done": "CHECKMARK",
    "failed": "ERROR",
    "cancelled": "CANCEL",
}


class DAS_UL_takes(bpy.types.UIList):
    """A row a take: its picture, its prompt, how it stands, and whether it is a favourite."""

    def draw_item(self, context, layout, data, item, icon, active_data, active_property, index=0, flag=0) -> None:
        entry = history.entries.get(item.name)
        if entry is None:
            layout.label(text=item.name)
            return
        row = layout.row(align=True)
        row.label(text=entry.request.prompt or entry.name, icon_value=icon_of_picture(entry.picture))
        row.label(text="", icon=ICONS[entry.record.state])
        star = row.operator("das.favourite_take", text="", icon="SOLO_ON" if entry.favourite else "SOLO_OFF", emboss=False)
        star.folder = str(entry.folder)

    def filter_items(self, context, data, property) -> tuple[list[int], list[int]]:
        shown = [self.bitflag_filter_item if is_shown(data, item.name) else 0 for item in getattr(data, property)]
        return shown, []


def is_shown(shown: bpy.types.PropertyGroup, name: str) -> bool:
    """Whether the search and the star let a take be in the list."""
    entry = history.entries.get(name)
    return entry is None or (entry.matches(shown.search) and (entry.favourite or not shown.favourites))


class DAS_PT_history(_InSidebar, bpy.types.Panel):
    bl_idname = "DAS_PT_history"
    bl_label = "History"
    bl_parent_id = "DAS_PT_sidebar"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        history.look()
        shown, layout = context.window_manager.das_history, self.layout
        row = layout.row(align=True)
        row.prop(shown, "search", text="", icon="VIEWZOOM")
        row.prop(shown, "favourites", text="", icon="SOLO_ON")
        layout.template_list("DAS_UL_takes", "", shown, "takes", shown, "index", rows=ROWS)
        if entry := shown.entry:
            _draw_chosen(layout, context, entry)
            _draw_buttons(layout, shown, entry)
        else:
            layout.label(text="Generate, and the takes of this file are here.", icon="INFO")


def _draw_chosen(layout: bpy.types.UILayout, context: bpy.types.Context, entry: Entry) -> None:
    request, column = entry.request, layout.column(align=True)
    if entry.picture:
        column.template_icon(icon_value=icon_of_picture(entry.picture), scale=SIZE)
    column.label(text=f"{entry.name}: {iface_(entry.record.state)}", translate=False, icon=ICONS[entry.record.state])
    draw_lines(column, request.prompt, line_length(context))
    made = iface_("{engine}, {width}x{height}, {frames} frames, seed {seed}").format(**msgspec.structs.asdict(request))
    column.label(text=made, translate=False)
    if entry.record.score:
        draw_lines(column, entry.record.score.sentence.capitalize(), line_length(context))
    if entry.record.failure:
        column.alert = True
        draw_lines(column, f"{iface_(entry.record.failure.message)} {iface_(entry.record.failure.fix)}", line_length(context))


def _draw_buttons(layout: bpy.types.UILayout, shown: bpy.types.PropertyGroup, entry: Entry) -> None:
    column = layout.column(align=True)
    if entry.can_resume:
        column.operator("das.resume_take", icon="PLAY")
    column.operator("das.apply_take", icon="FILE_REFRESH")
    column.operator("das.add_take", icon="SEQUENCE")
    row = column.row(align=True)
    row.operator("das.open_take_folder", icon="FILE_FOLDER")
    row.operator("das.delete_take", icon="TRASH")
    row = layout.row(align=True)
    row.prop_search(shown, "other", shown, "takes", text="")
    row.operator("das.compare_takes", icon="MOD_MIRROR")


CLASSES = (DAS_PT_history,)
