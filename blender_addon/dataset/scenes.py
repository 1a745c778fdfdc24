"""The stage of a clip: its scene, opened or composed, and varied. Nothing of it is ever saved."""

from __future__ import annotations

from pathlib import Path

import bpy
import msgspec
import numpy as np

from ...shared.errors import SceneError, first_line
from ...shared.interrupt import interrupt_postponed
from .recipe import Ingredients, Recipe
from .sidecars import said


class Stage(msgspec.Struct):
    """A scene ready to be filmed from ``start`` to ``end``; ``words`` fill the prompt, ``settings`` go into the record."""

    scene: bpy.types.Scene
    start: float
    end: float
    words: dict[str, str]
    settings: dict[str, str | float | list[float]]


def set_stage(recipe: Recipe, ingredients: Ingredients, random: np.random.Generator) -> Stage:
    scene = _open(Path(ingredients.scene), recipe.scripts)
    start, end = _choose_range(recipe, scene, random)
    return Stage(scene, start, end, {"scene": said(Path(ingredients.scene))}, {})


def _open(file: Path, scripts: bool) -> bpy.types.Scene:
    try:
        with interrupt_postponed():
            bpy.ops.wm.open_mainfile(filepath=str(file), load_ui=False, use_scripts=scripts)
    except RuntimeError as error:
        raise SceneError(f"{file} cannot be opened: {first_line(error).removeprefix('Error: ')}.", "Give .blend files that this Blender can read.") from None
    return bpy.context.scene


def _choose_range(recipe: Recipe, scene: bpy.types.Scene, random: np.random.Generator) -> tuple[float, float]:
    """The clip's first and last frame: somewhere in the range where it is longer than the clip, else all of it."""
    first = float(scene.frame_start) if recipe.start is None else recipe.start
    last = float(scene.frame_end) if recipe.end is None else recipe.end
    length = (recipe.frames - 1) * recipe.step
    room = last - first - length
    if room < 0:
        return first, last
    begin = first + (float(random.integers(int(room) + 1)) if "range" in recipe.vary else 0.0)
    return begin, begin + length
