"""The panels of the viewport's sidebar, once more for the Sequencer's."""

from __future__ import annotations

import bpy

OWN = ("__dict__", "__weakref__")  # what Python gives each class itself


def in_sequencer(panel: type[bpy.types.Panel]) -> type[bpy.types.Panel]:
    """The same panel as a class of its own: Blender knows a panel by one space and one name."""
    body = {name: value for name, value in vars(panel).items() if name not in OWN}
    body |= {"bl_idname": twin_name(panel.bl_idname), "bl_space_type": "SEQUENCE_EDITOR"}
    if parent := getattr(panel, "bl_parent_id", ""):
        body["bl_parent_id"] = twin_name(parent)
    return type(body["bl_idname"], panel.__bases__, body)


def twin_name(name: str) -> str:
    """DAS_PT_sidebar becomes DAS_PT_sequencer_sidebar."""
    return name.replace("_PT_", "_PT_sequencer_", 1)
