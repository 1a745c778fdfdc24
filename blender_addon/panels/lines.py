"""Sentences in a panel: Blender's own labels do not wrap."""

from __future__ import annotations

import textwrap

import bpy

PIXELS_A_CHARACTER = 7.0
PIXELS_BESIDE = 55  # the icon and the box around it
FEWEST_CHARACTERS = 24


def draw_lines(column: bpy.types.UILayout, text: str, characters: int, icon: str = "NONE") -> None:
    """A label for each line."""
    for index, line in enumerate(textwrap.wrap(text, characters)):
        column.label(text=line, icon=icon if index == 0 or icon == "NONE" else "BLANK1")


def line_length(context: bpy.types.Context) -> int:
    """How many characters fit beside the icon."""
    width = context.region.width if context.region else 300
    scale = context.preferences.system.ui_scale or 1.0  # 0 where Blender has no window
    return max(FEWEST_CHARACTERS, int((width / scale - PIXELS_BESIDE) / PIXELS_A_CHARACTER))
