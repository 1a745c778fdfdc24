"""The add-on's preferences: where takes go, and the backend's state."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from ..shared import home

ADDON = __package__.rpartition(".")[0]
ENGINES = [
    ("projection", "Projection", "Warps the first frame along the tracking; needs no weights and takes seconds"),
    ("das", "Diffusion as Shader", "The video diffusion model; needs its weights and a strong graphics card"),
]


class DasPreferences(bpy.types.AddonPreferences):
    """Shown under Preferences, Add-ons."""

    bl_idname = ADDON

    takes_folder: StringProperty(
        name="Takes folder",
        description="Where takes are kept; // stands for the folder of the .blend",
        subtype="DIR_PATH",
        default="//das/",
    )
    engine: EnumProperty(name="Default engine", description="What makes a video where the scene names nothing", items=ENGINES)

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.prop(self, "takes_folder")
        self.layout.prop(self, "engine")
        self.layout.label(text=backend_state())


def takes_folder() -> Path | None:
    """The folder for takes; None where it is relative to a .blend that has not been saved."""
    chosen = _preferences().takes_folder if _preferences() else "//das/"
    if chosen.startswith("//") and not bpy.data.filepath:
        return None
    return Path(bpy.path.abspath(chosen))


def default_engine() -> str:
    """The engine of a scene that names none."""
    return _preferences().engine if _preferences() else ENGINES[0][0]


def _preferences() -> DasPreferences | None:
    """None where the package is used without being enabled as an add-on, as on the command line."""
    addon = bpy.context.preferences.addons.get(ADDON)
    return addon.preferences if addon else None


def backend_state() -> str:
    """One line on what generates here. Only files are looked at, so it is quick enough to draw."""
    known = home.environments("backend")
    if not known:
        return "No backend is installed: run python3 install/run.py setup."
    running = " A backend has left its connection file." if home.connection_file().exists() else ""
    return f"Backend: {known[0].python}.{running}"


def register() -> None:
    bpy.utils.register_class(DasPreferences)


def unregister() -> None:
    bpy.utils.unregister_class(DasPreferences)
