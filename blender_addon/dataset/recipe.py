"""The recipe of a dataset: all that decides its clips, each of which follows from the recipe and the clip's number alone."""

from __future__ import annotations

import itertools
import string
import zlib
from pathlib import Path
from typing import Literal, get_args

import msgspec
import numpy as np

from ...shared.dataset import with_errors
from ...shared.errors import UsageError
from ...shared.request import FirstFrame, Fit

RECIPE = "recipe.json"
Vary = Literal["camera", "range", "lights", "background", "colours"]
VARIED: tuple[Vary, ...] = ("camera", "range", "lights", "background")
WORDS = ("scene", "character", "motion", "world", "camera", "background")
SCENE_PROMPT, COMPOSED_PROMPT = "{scene}", "{character} {motion} in {world}"
NO_WORLD = ""
SKIN, MOTION, SETTING = (".fbx", ".glb", ".gltf", ".blend"), (".fbx", ".glb", ".gltf", ".blend"), (".blend", ".hdr", ".exr", ".jpg", ".jpeg", ".png")


class Ingredients(msgspec.Struct, frozen=True, omit_defaults=True):
    """The files of one clip: a scene, or a character with a motion, in a world or in none."""

    scene: str = ""
    character: str = ""
    motion: str = ""
    world: str = NO_WORLD

    @property
    def files(self) -> list[Path]:
        return [Path(file) for file in (self.scene, self.character, self.motion, self.world) if file]


class Recipe(msgspec.Struct, kw_only=True, omit_defaults=True):
    """recipe.json. ``scenes``, or ``characters`` x ``motions`` x ``worlds``, are whole paths; ``start`` and ``end`` the scene
    frames to choose from, None for the scene's own; ``step`` scene frames between two of a clip; ``scripts`` whether Python in
    files may run."""

    version: int = 1
    seed: int = 0
    scenes: tuple[str, ...] = ()
    characters: tuple[str, ...] = ()
    motions: tuple[str, ...] = ()
    worlds: tuple[str, ...] = ()
    width: int
    height: int
    frames: int
    fit: Fit = "crop"
    start: float | None = None
    end: float | None = None
    step: float = 1.0
    render: FirstFrame = FirstFrame()
    vary: tuple[Vary, ...] = VARIED
    prompt: str = SCENE_PROMPT
    licence: str = ""
    points: str = "50x50"
    scripts: bool = False

    def ingredients(self, index: int) -> Ingredients:
        """Of clip ``index`` (from 0): every combination comes once before any comes again, in an order of the seed's."""
        combinations = [Ingredients(scene=scene) for scene in self.scenes] or [
            Ingredients(character=character, motion=motion, world=world)
            for character, motion, world in itertools.product(self.characters, self.motions or ("",), self.worlds or (NO_WORLD,))
        ]
        turn, place = divmod(index, len(combinations))
        return combinations[np.random.default_rng([self.seed, turn]).permutation(len(combinations))[place]]

    def random(self, index: int, aspect: str) -> np.random.Generator:
        """The randomness of one aspect of clip ``index``, the same whatever else is drawn, made before it or beside it."""
        return np.random.default_rng([self.seed, index, zlib.crc32(aspect.encode())])


def clip_name(index: int) -> str:
    return f"{index + 1:05d}"


def settle(root: Path, recipe: Recipe) -> None:
    """Write the recipe of a new dataset; UsageError where the folder's is another one, whose clips would not fit."""
    file = root / RECIPE
    if not file.exists():
        content = msgspec.json.format(msgspec.json.encode(recipe), indent=1)
        with_errors(lambda: file.write_bytes(content), root)
        return
    former = read_recipe(root)
    for name in recipe.__struct_fields__:
        before, now = getattr(former, name), getattr(recipe, name)
        if before != now:
            raise UsageError(f"{root} was begun with {_said(name, before)}, not {_said(name, now)}.", "Repeat it as it was begun, or choose a new folder with -o.")


def read_recipe(root: Path) -> Recipe:
    file = root / RECIPE
    try:
        return msgspec.json.decode(file.read_bytes(), type=Recipe)
    except (OSError, msgspec.MsgspecError) as error:
        raise UsageError(f"{file} cannot be read: {error}.", "Make the dataset again in a new folder.") from None


def _said(name: str, value: object) -> str:
    what = {"start": "first frame", "end": "last frame"}.get(name, name)
    return f"{len(value)} {what}" if isinstance(value, tuple) and name in ("scenes", "characters", "motions", "worlds") else f"{what} {value}"


def files_in(folder: Path, endings: tuple[str, ...], option: str) -> tuple[str, ...]:
    """The files of these kinds in a folder, by name; or one file. UsageError where there is none."""
    if folder.is_file() and folder.suffix.lower() in endings:
        return (str(folder.resolve()),)
    found = sorted(file for file in folder.glob("*") if file.suffix.lower() in endings) if folder.is_dir() else []
    if not found:
        what = f"{folder} holds no file that {option} can use" if folder.exists() else f"There is no folder {folder}"
        raise UsageError(f"{what}.", f"{option} takes a folder of {', '.join(endings)} files, or one of them.")
    return tuple(str(file.resolve()) for file in found)


def parse_vary(text: str) -> tuple[Vary, ...]:
    """'camera,range' to ('camera', 'range'); 'none' to ()."""
    names = [] if text.strip() == "none" else [name.strip() for name in text.split(",") if name.strip()]
    for name in names:
        if name not in get_args(Vary):
            raise UsageError(f"--vary knows no '{name}'.", f"Choose of {', '.join(get_args(Vary))}, or none.")
    return tuple(name for name in get_args(Vary) if name in names)


def check_prompt(template: str) -> str:
    """The template itself; UsageError where it names what there is not."""
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(template) if name is not None]
    except ValueError as error:
        raise UsageError(f"The prompt's template cannot be read: {error}.", "Write a bare brace twice: {{ or }}.") from None
    for name in names:
        if name not in WORDS:
            raise UsageError(f"The prompt's template knows no {{{name}}}.", f"Use {', '.join(f'{{{word}}}' for word in WORDS)}.")
    if not template.strip():
        raise UsageError("The prompt is empty.", "Say what the clips show with --prompt.")
    return template
