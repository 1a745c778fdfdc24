"""The stage of a clip: its scene, opened or composed, and varied. Nothing of it is ever saved."""

from __future__ import annotations

import math
from pathlib import Path

import bpy
import msgspec

from ...shared.errors import SceneError, first_line
from ...shared.interrupt import interrupt_postponed
from ...shared.request import GenerationRequest
from ...shared.sidecars import in_words, said
from . import looks
from .cameras import WORDS as CAMERA_WORDS
from .cameras import vary_camera
from .characters import bring_character, give_motion, own_range
from .recipe import Ingredients, Recipe
from .subject import Subject, find_subject

BACKGROUND_WORDS = {"colour": "a blank room", "sky": "an empty place under the sky", "own": "its own surroundings"}
FLOOR_SHARE = 25  # of the subject's size


class Stage(msgspec.Struct):
    """A scene ready to be filmed as ``request`` says; ``words`` fill the prompt, ``settings`` go into the record."""

    scene: bpy.types.Scene
    request: GenerationRequest
    words: dict[str, str]
    settings: dict[str, str | float]


def set_stage(recipe: Recipe, ingredients: Ingredients, number: int) -> Stage:
    """The stage of clip ``number``. SceneError where a file cannot be read, a motion does not fit, or there is nothing to see."""
    scene, words = _scene_of(recipe, ingredients, number)
    request = _request(recipe, scene, number)
    subject = find_subject(scene, request.start, request.end)
    settings: dict[str, str | float] = {"start": request.start, "end": request.end}
    if ingredients.character and not ingredients.world.endswith(".blend"):
        _add_floor(scene, subject)
    background = _background(recipe, ingredients, scene, number)
    if "lights" in recipe.vary:
        looks.vary_lights(scene, recipe.random(number, "lights"))
    if "colours" in recipe.vary:
        looks.vary_colours(scene, recipe.random(number, "colours"))
    if "camera" in recipe.vary or scene.camera is None:
        settings |= vary_camera(scene, request, subject, recipe.random(number, "camera"))
    words |= {"background": BACKGROUND_WORDS[background], "camera": CAMERA_WORDS.get(str(settings.get("camera")), "")}
    words.setdefault("world", said(Path(ingredients.world)) if ingredients.world else words["background"])
    return Stage(scene, request, words, {**settings, "background": background})


def _scene_of(recipe: Recipe, ingredients: Ingredients, number: int) -> tuple[bpy.types.Scene, dict[str, str]]:
    """The scene, and the words for what it was made of."""
    if ingredients.scene:
        file = Path(ingredients.scene)
        return _open(file, recipe.scripts), {"scene": said(file), "character": said(file), "motion": ""}
    scene = _open(Path(ingredients.world), recipe.scripts) if ingredients.world.endswith(".blend") else _blank()
    figure = bring_character(scene, Path(ingredients.character))
    words = {"scene": said(Path(ingredients.character)), "character": said(Path(ingredients.character)), "motion": ""}
    if ingredients.motion:
        action = give_motion(scene, figure, Path(ingredients.motion), recipe.random(number, "motion"))
        words["motion"] = said(Path(ingredients.motion)) if action.only else in_words(action.name)
    scene.frame_start, scene.frame_end = own_range(figure, scene)
    return scene, words


def _blank() -> bpy.types.Scene:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return bpy.context.scene


def _open(file: Path, scripts: bool) -> bpy.types.Scene:
    try:
        with interrupt_postponed():
            bpy.ops.wm.open_mainfile(filepath=str(file), load_ui=False, use_scripts=scripts)
    except RuntimeError as error:
        raise SceneError(f"{file} cannot be opened: {first_line(error).removeprefix('Error: ')}.", "Give .blend files that this Blender can read.") from None
    return bpy.context.scene


def _request(recipe: Recipe, scene: bpy.types.Scene, number: int) -> GenerationRequest:
    start, end = _choose_range(recipe, scene, number)
    if end <= start:
        raise SceneError(f"The scene has the one frame {start:g} only.", "Give it a longer range, or --frames A:B.")
    return GenerationRequest(
        width=recipe.width,
        height=recipe.height,
        frames=recipe.frames,
        start=start,
        end=end,
        scene_fps=scene.render.fps / scene.render.fps_base,
        fit=recipe.fit,
        first_frame=recipe.render,
        points=recipe.points,
    )


def _choose_range(recipe: Recipe, scene: bpy.types.Scene, number: int) -> tuple[float, float]:
    """The clip's first and last frame: somewhere in the range where it is longer than the clip, else all of it."""
    first = float(scene.frame_start) if recipe.start is None else recipe.start
    last = float(scene.frame_end) if recipe.end is None else recipe.end
    length = (recipe.frames - 1) * recipe.step
    room = last - first - length
    if room < 0:
        return first, last
    begin = first + (float(recipe.random(number, "range").integers(math.floor(room) + 1)) if "range" in recipe.vary else 0.0)
    return begin, begin + length


def _background(recipe: Recipe, ingredients: Ingredients, scene: bpy.types.Scene, number: int) -> str:
    """Which of 'colour', 'sky' and 'own' it became."""
    random, world = recipe.random(number, "background"), ingredients.world
    if world and not world.endswith(".blend"):
        looks.show_panorama(scene, Path(world), random)
        return "own"
    if "background" not in recipe.vary and scene.world:
        return "own"
    return looks.vary_background(scene, random, own=not ingredients.character or bool(world))


def _add_floor(scene: bpy.types.Scene, subject: Subject) -> None:
    """A grey ground under a character that has no set."""
    size = subject.radius * FLOOR_SHARE
    mesh = bpy.data.meshes.new("Clip floor")
    mesh.from_pydata([(x * size, y * size, 0) for x, y in ((-1, -1), (1, -1), (1, 1), (-1, 1))], [], [(0, 1, 2, 3)])
    floor = bpy.data.objects.new("Clip floor", mesh)
    floor.location = subject.centre
    floor.location.z = subject.lowest
    scene.collection.objects.link(floor)
    bpy.context.view_layer.update()
