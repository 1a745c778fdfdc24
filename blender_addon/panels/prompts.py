"""The prompt's rows, and the presets of prompts and styles."""

from __future__ import annotations

import bpy
from bl_ui.utils import PresetPanel


class DAS_PT_prompt_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Prompts"
    preset_subdir = "das/prompts"
    preset_operator = "script.execute_preset"
    preset_add_operator = "das.add_prompt_preset"


class DAS_PT_style_presets(PresetPanel, bpy.types.Panel):
    bl_label = "Styles"
    preset_subdir = "das/styles"
    preset_operator = "script.execute_preset"
    preset_add_operator = "das.add_style_preset"


def draw_prompt(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    """Prompt and style with their presets, and the negative prompt."""
    for name, presets in (("prompt", DAS_PT_prompt_presets), ("style", DAS_PT_style_presets)):
        row = layout.row(align=True)
        row.prop(settings, name)
        row.popover(presets.__name__, text="", icon="PRESET")
    layout.prop(settings, "negative_prompt", text="Negative")


PRESETS = (DAS_PT_prompt_presets, DAS_PT_style_presets)
