"""Preferences: weights of the models, where they are kept, and fetching, checking and removing them."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_
from bpy.props import StringProperty

from ..shared.model_entries import Entry, size_text
from .preferences_backend import set_variable
from .upkeep import upkeep


def choose_models_folder(preferences, context: bpy.types.Context | None = None) -> None:
    """The backend reads it when it starts."""
    set_variable("DAS_MODELS", preferences.models_folder)
    upkeep.models = None


class ModelPreferences:
    """The part of the add-on's preferences that is the models'."""

    models_folder: StringProperty(
        name="Folder",
        description="Where weights are kept. Several users and machines may share one. Empty: in the folder of the backend's own files",
        subtype="DIR_PATH",
        options={"OUTPUT_PATH"},
        update=choose_models_folder,
    )
    hub_token: StringProperty(
        name="Hub key",
        description="An access token of Hugging Face, for weights whose licence you have accepted there. It is forgotten when Blender quits",
        subtype="PASSWORD",
        options={"SKIP_SAVE"},
    )

    def draw_models(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        """The folder, and a box for each of the models."""
        from .panels.lines import line_length

        layout.prop(self, "models_folder")
        row = layout.row(align=True)
        row.operator("das.list_models", icon="FILE_REFRESH")
        row.operator("das.open_models_folder", icon="FILE_FOLDER")
        layout.prop(self, "hub_token")
        if upkeep.models is None:
            layout.label(text="Press List to see which models there are, and which are here.", icon="INFO")
            return
        free = iface_("{folder}: {size} free").format(folder=upkeep.models.folder, size=size_text(upkeep.models.free))
        layout.label(text=free, icon="FILE_FOLDER", translate=False)
        column = layout.column()
        column.enabled = not upkeep.running
        for entry in upkeep.models.models:
            _draw_model(column.box(), entry, line_length(context))


def _draw_model(box: bpy.types.UILayout, entry: Entry, characters: int) -> None:
    from .panels.lines import draw_lines

    row = box.row()
    row.label(text=entry.name, icon="CHECKMARK" if entry.folder else "PAUSE" if entry.partial else "BLANK1", translate=False)
    row.label(text=_size(entry), translate=False)
    _draw_buttons(row.row(align=True), entry)
    lines = box.column(align=True)
    lines.scale_y = 0.8
    tasks = entry.tasks and iface_("For {}").format(entry.tasks)
    licence = entry.licence and iface_("Licence: {}").format(entry.licence)
    for text in (entry.what, tasks, licence, entry.needs):
        draw_lines(lines, text[:1].upper() + text[1:], characters)


def _size(entry: Entry) -> str:
    if entry.folder:
        return size_text(entry.bytes)
    whole = size_text(entry.bytes) if entry.bytes else ""
    if entry.partial and whole:
        return iface_("{partial} of {whole}").format(partial=size_text(entry.partial), whole=whole)
    return whole or (size_text(entry.partial) if entry.partial else "")


def _draw_buttons(row: bpy.types.UILayout, entry: Entry) -> None:
    if entry.folder:
        row.operator("das.verify_model", text="", icon="FAKE_USER_ON").model = entry.name
    else:
        row.operator("das.pull_model", text="Resume" if entry.partial else "Download", icon="IMPORT").model = entry.name
    if entry.ours or entry.partial:
        row.operator("das.remove_model", text="", icon="TRASH").model = entry.name

