"""Add and remove presets of prompts and styles, which Blender keeps with the user's own."""

from __future__ import annotations

from pathlib import Path

import bpy
from bl_operators.presets import AddPresetBase

SHIPPED = str(Path(__file__).parents[1])  # holds the folder presets
SCENE = "das = bpy.context.scene.das"


class DAS_OT_add_prompt_preset(AddPresetBase, bpy.types.Operator):
    bl_idname = "das.add_prompt_preset"
    bl_label = "Add prompt preset"
    bl_description = "Keep the prompt and the negative prompt under a name, or remove the preset of that name"
    preset_menu = "DAS_PT_prompt_presets"
    preset_subdir = "das/prompts"
    preset_defines = [SCENE]
    preset_values = ["das.prompt", "das.negative_prompt"]


class DAS_OT_add_style_preset(AddPresetBase, bpy.types.Operator):
    bl_idname = "das.add_style_preset"
    bl_label = "Add style preset"
    bl_description = "Keep the style's words under a name, or remove the preset of that name"
    preset_menu = "DAS_PT_style_presets"
    preset_subdir = "das/styles"
    preset_defines = [SCENE]
    preset_values = ["das.style"]


CLASSES = (DAS_OT_add_prompt_preset, DAS_OT_add_style_preset)


def register_shipped() -> None:
    """Let Blender find the presets that come with the add-on."""
    bpy.utils.register_preset_path(SHIPPED)


def unregister_shipped() -> None:
    bpy.utils.unregister_preset_path(SHIPPED)
