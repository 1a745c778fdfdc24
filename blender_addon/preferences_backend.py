"""Preferences: the backend's installation, its process, and a backend on another machine."""

from __future__ import annotations

import functools
import os
import tomllib
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as iface_
from bpy.props import EnumProperty, StringProperty

from ..shared import home, wire
from ..shared.errors import DasError
from ..shared.managed_backend import ManagedBackend, find_managed
from ..shared.processes import pid_alive
from .mending import draw_mending
from .upkeep import upkeep

KINDS = [
    ("projection", "Projection only", "Without the diffusion model: 300 MB to download, and any processor will do"),
    ("model", "With the model", "With torch in the build for this machine's graphics card: 1 to 4 GB to download, the weights come after"),
    ("model-cpu", "With the model, CPU only", "With torch in its small build that uses no graphics card; the model is very slow so"),
]
LABELS = {identifier: label for identifier, label, _ in KINDS}


def choose_connection(preferences, context: bpy.types.Context | None = None) -> None:
    """What the user has named holds for all that reaches for a backend from here, and for what it starts."""
    set_variable("DAS_CONNECTION", preferences.connection)


def set_variable(name: str, path: str) -> None:
    """A path that our programs read from their environment. Emptied, it is as if it had never been set."""
    if path:
        os.environ[name] = bpy.path.abspath(path)
    else:
        os.environ.pop(name, None)


class BackendPreferences:
    """The part of the add-on's preferences that is the backend's."""

    backend_kind: EnumProperty(name="Install", description="What the backend is to be able to do", items=KINDS)
    backend_python: StringProperty(
        name="Python",
        description="The Python that the backend's environment is made from, 3.11 to 3.14. Empty: Blender's own, or else one that is found",
        subtype="FILE_PATH",
    )
    connection: StringProperty(
        name="Connection file",
        description="A copy of the connection file of a backend on another machine, which is then used instead of one here",
        subtype="FILE_PATH",
        update=choose_connection,
    )

    def draw_backend(self, layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
        """State, what can be done about it, and how that goes."""
        from .panels.lines import draw_lines, line_length  # panels draw settings, which have their defaults from Preferences

        state, fine = backend_state()
        draw_lines(layout.column(align=True), state, line_length(context), "CHECKMARK" if fine else "INFO")
        draw_upkeep(layout, line_length(context))
        column = layout.column()
        column.enabled = not upkeep.running
        self._draw_install(column)
        self._draw_process(column)

    def _draw_install(self, layout: bpy.types.UILayout) -> None:
        managed = managed_or_none()
        layout.prop(self, "backend_kind")
        layout.prop(self, "backend_python")
        row = layout.row(align=True)
        label, again = wanted_action(managed, self.backend_kind)
        row.operator("das.install_backend", text=label, icon="IMPORT").again = again
        if managed:
            row.operator("das.remove_backend", text="Remove", icon="TRASH")
        row.operator("das.open_install_log", text="", icon="TEXT")

    def _draw_process(self, layout: bpy.types.UILayout) -> None:
        layout.prop(self, "connection")
        row = layout.row(align=True)
        row.operator("das.connect_backend", icon="LINKED")
        if self.connection:
            row.operator("das.disconnect_backend", icon="UNLINKED")
        row.operator("das.start_backend", icon="PLAY")
        row.operator("das.restart_backend", icon="FILE_REFRESH")
        row.operator("das.stop_backend", icon="SNAP_FACE")


def draw_upkeep(layout: bpy.types.UILayout, characters: int) -> None:
    """Progress and Cancel while something goes on, else how the last thing ended."""
    from .panels.lines import draw_lines, draw_progress

    if upkeep.running:
        row = layout.row(align=True)
        draw_progress(row, upkeep.progress)
        row.operator("das.cancel_upkeep", text=getattr(upkeep.work, "cancel_word", "Cancel"), icon="CANCEL")
    elif upkeep.message:
        column = layout.column(align=True)
        column.alert = upkeep.failed
        draw_lines(column, f"{iface_(upkeep.message)} {iface_(upkeep.fix)}".strip(), characters, "ERROR" if upkeep.failed else "CHECKMARK")
        if upkeep.failed:
            draw_mending(layout, upkeep.action, of_preferences=True)
    if upkeep.log:
        lines = layout.box().column(align=True)
        lines.scale_y = 0.7
        for line in upkeep.log:
            lines.label(text=line, translate=False)


def wanted_action(managed: ManagedBackend | None, kind: str) -> tuple[str, bool]:
    """The word on the button, and whether what stands is made again."""
    if managed is None:
        return "Install", False
    if managed.version != own_version():
        return iface_("Update to {}").format(own_version()), False
    if managed.kind != kind:
        return iface_("Change to {}").format(iface_(LABELS[kind])), False
    return "Repair", True


@functools.cache
def own_version() -> str:
    """The add-on's."""
    file = Path(__file__).resolve().parents[1] / "pyproject.toml"
    return tomllib.loads(file.read_text(encoding="utf-8"))["project"]["version"]


def managed_or_none() -> ManagedBackend | None:
    """What Preferences have installed, as far as its files can be read."""
    try:
        return find_managed()
    except DasError:
        return None


def backend_state() -> tuple[str, bool]:
    """What generates here, in sentences, and whether all is well. Only files are looked at, so it is quick enough to draw."""
    try:
        chosen = home.chosen_connection()
        if chosen:
            return iface_("The backend that {} names is used.").format(chosen.name), True
        managed, known = find_managed(), home.environments("backend")
        if not known:
            fix = "Repair it: its Python is gone." if managed else "Install it here."
            return f"{iface_('No backend is installed.')} {iface_(fix)}", False
        return f"{_sentence(managed, known[0])} {_process()}", not (managed and managed.version != own_version())
    except DasError as error:
        return str(error), False


def lacks_model() -> bool:
    """Whether the backend that would be used is one of Preferences' for projection alone."""
    try:
        known = [] if home.chosen_connection() else home.environments("backend")
    except DasError:
        return False
    return bool(known) and known[0].kind == home.PROJECTION_KIND


def _sentence(managed: ManagedBackend | None, used: home.Environment) -> str:
    if managed is None or not managed.works or used.name != home.MANAGED_ENVIRONMENT:
        other = iface_("The backend of {} is used, which was not installed here.").format(used.python)
        return f"{other} {iface_('The one that is installed here has no model, so it comes second.')}" if managed and managed.works else other
    label = iface_(LABELS[managed.kind])
    said = iface_("The backend is installed: {kind}, Python {python}.").format(kind=label[:1].lower() + label[1:], python=managed.python)
    if managed.version == own_version():
        return said
    old = iface_("It is of version {old}, and the add-on of {new}: update it.").format(old=managed.version, new=own_version())
    return f"{said} {old}"


def _process() -> str:
    connection = wire.read_connection(home.connection_file())
    runs = connection is not None and connection.is_local and pid_alive(connection.pid)
    return iface_("It runs.") if runs else iface_("It starts when it is needed.")
