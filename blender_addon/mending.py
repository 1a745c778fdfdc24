"""The buttons that mend errors: what a DasError's ``action`` means in Blender."""

from __future__ import annotations

from typing import NamedTuple

import bpy


class Mend(NamedTuple):
    """An operator, its button's words and what it is called with."""

    operator: str
    label: str
    options: dict[str, str | bool] = {}


MENDS = {
    "install_backend": Mend("das.install_backend", "Install backend"),
    "repair_backend": Mend("das.install_backend", "Repair backend", {"again": True}),
    "restart_backend": Mend("das.restart_backend", "Restart backend"),
    "resume_take": Mend("das.resume_last", "Go on"),
    "pull_weights": Mend("das.show_preferences", "Models in Preferences"),
    "show_preferences": Mend("das.show_preferences", "Backend in Preferences"),
    "automatic_plan": Mend("das.use_automatic_plan", "Automatic plan"),
    "estimate_depth": Mend("das.estimate_depth", "Estimate depth"),
    "allow_online": Mend("das.show_network_preferences", "Network in Preferences"),
    "save_file": Mend("wm.save_as_mainfile", "Save file"),
    "use_scene_range": Mend("das.use_scene_range", "Use scene range"),
    "one_a_frame": Mend("das.use_model_range", "One a frame"),
    "round_size": Mend("das.round_size", "Round size"),
    "use_image_size": Mend("das.use_image_size", "Use the image's size"),
    "render_first_frame": Mend("das.render_first_frame", "Render it"),
    "find_camera": Mend("das.find_camera", "Set camera"),
    "set_perspective": Mend("das.set_perspective", "Set to perspective"),
    "bake_rigid_bodies": Mend("das.bake_rigid_bodies", "Bake"),
    "use_view_layer": Mend("das.use_view_layer", "Switch on"),
    "smaller_video": Mend("das.smaller_video", "Half size"),
}


def draw_mending(layout: bpy.types.UILayout, action: str, of_preferences: bool = False) -> None:
    """The button that mends an error, or where none can the one that copies a report of it."""
    if mend := MENDS.get(action):
        button = layout.operator(mend.operator, text=mend.label, icon="TOOL_SETTINGS")
        for name, value in mend.options.items():
            setattr(button, name, value)
    else:
        layout.operator("das.copy_report", icon="COPYDOWN").of_preferences = of_preferences
