"""The add-on's preferences: where takes go, the backend and its models."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from ..shared.errors import UsageError
from .preferences_backend import BackendPreferences, choose_connection
from .preferences_models import ModelPreferences, choose_models_folder

ADDON = __package__.rpartition(".")[0]
ENGINES = [
    ("projection", "Projection", "Warps the first frame along the tracking; needs no weights and takes seconds"),
    ("das", "Diffusion as Shader", "The video diffusion model; needs its weights and a strong graphics card"),
]


class DasPreferences(BackendPreferences, ModelPreferences, bpy.types.AddonPreferences):
    """Shown under Preferences, Add-ons."""

    bl_idname = ADDON

    takes_folder: StringProperty(
        name="Takes folder",
        description="Where takes are kept; // stands for the folder of the .blend",
        subtype="DIR_PATH",
        options={"OUTPUT_PATH", "PATH_SUPPORTS_BLEND_RELATIVE"},
        default="//das/",
    )
    engine: EnumProperty(name="Default engine", description="What makes a video where the scene names nothing", items=ENGINES)

    def draw(self, context: bpy.types.Context) -> None:
        self.layout.prop(self, "takes_folder")
        self.layout.prop(self, "engine")
        for name, label, draw in (("backend", "Backend", self.draw_backend), ("models", "Models", self.draw_models)):
            header, body = self.layout.panel(f"das_preferences_{name}", default_closed=name == "models")
            header.label(text=label)
            if body:
                draw(body, context)


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


def own_preferences() -> DasPreferences:
    """The user's. UsageError where the add-on is not enabled, and so has none."""
    found = _preferences()
    if found is None:
        raise UsageError("The add-on is not enabled.", "Enable it in Preferences, Add-ons.")
    return found


def register() -> None:
    bpy.utils.register_class(DasPreferences)
    if (chosen := _preferences()) is not None:
        for path, apply in ((chosen.connection, choose_connection), (chosen.models_folder, choose_models_folder)):
            if path:  # else what Blender was started with holds
                apply(chosen)


def unregister() -> None:
    bpy.utils.unregister_class(DasPreferences)
