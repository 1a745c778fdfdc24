"""Sentences in a panel: Blender's own labels do not wrap."""

from __future__ import annotations

import textwrap

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..stepwise import Step

SHORT = 90  # seconds that are not told as minutes
PIXELS_A_CHARACTER = 7.0
PIXELS_BESIDE = 55  # the icon and the box around it
FEWEST_CHARACTERS = 24


def draw_lines(column: bpy.types.UILayout, text: str, characters: int, icon: str = "NONE") -> None:
    """A label for each line of a text, which is translated as a whole."""
    for index, line in enumerate(textwrap.wrap(iface_(text), characters)):
        column.label(text=line, icon=icon if index == 0 or icon == "NONE" else "BLANK1", translate=False)


def draw_progress(row: bpy.types.UILayout, step: Step) -> None:
    """A bar that says 'Tracking 3/49, about 20 s left'."""
    words = f"{iface_(step.phase[:1].upper() + step.phase[1:])} {step.step}/{step.total}"
    if step.eta:
        minutes = step.eta > SHORT
        left = iface_("about {:.0f} min left") if minutes else iface_("about {:.0f} s left")
        words = f"{words}, {left.format(step.eta / 60 if minutes else step.eta)}"
    row.progress(factor=step.step / max(step.total, 1), text=words, translate=False)


def line_length(context: bpy.types.Context) -> int:
    """How many characters fit beside the icon."""
    width = context.region.width if context.region else 300
    scale = context.preferences.system.ui_scale or 1.0  # 0 where Blender has no window
    return max(FEWEST_CHARACTERS, int((width / scale - PIXELS_BESIDE) / PIXELS_A_CHARACTER))
