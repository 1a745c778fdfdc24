"""Clips to train on, made in this Blender: what is in their files, what follows from the seed, motions on other bones."""

import json
import math
import sys
from pathlib import Path

import bpy
import numpy as np
import pytest

from diffusion_as_shader.blender_addon.commands.dataset import recipe_of
from diffusion_as_shader.blender_addon.dataset import pool
from diffusion_as_shader.blender_addon.dataset.characters import bring_character, give_motion
from diffusion_as_shader.blender_addon.dataset.making import Maker, staging_folder
from diffusion_as_shader.blender_addon.dataset.pool import Failed, Made, make_all
from diffusion_as_shader.blender_addon.dataset.recipe import Ingredients, Recipe, read_recipe, settle
from diffusion_as_shader.blender_addon.dataset.scenes import set_stage
from diffusion_as_shader.blender_addon.footage import reading_movie
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.render_job import at_once
from diffusion_as_shader.shared import cli
from diffusion_as_shader.shared.camera import read_camera_path
from diffusion_as_shader.shared.errors import GenerationError, SceneError, UsageError
from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest
from diffusion_as_shader.shared.track_files import read_tracks

from .scenes import moving_cube

SMALL = {"width": 96, "height": 64, "frames": 9, "render": FirstFrame(source="workbench"), "points": "24x16"}


@pytest.fixture(scope="module")
def blend(tmp_path_factory) -> Path:
    """A red cube that moves before a black background, with a camera, 40 frames."""
    moving_cube()
    scene = bpy.context.scene
    scene.frame_end = 40
    scene.world = bpy.data.worlds.new("Night")
    scene.world.color = (0, 0, 0)
    red = bpy.data.materials.new("Red")
    red.diffuse_color = (1, 0.1, 0.1, 1)
    bpy.data.objects["Cube"].data.materials.append(red)
    file = tmp_path_factory.mktemp("Szenen") / "rote_kiste.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    file.with_name(file.name + ".json").write_text('{"name": "a red box", "licence": "CC0", "source": "a test"}')
    return file


def maker(root: Path, blend: Path, **changes) -> Maker:
    recipe = Recipe(**{**SMALL, "scenes": (str(blend),), "prompt": "{scene}, {camera}", **changes})
    return Maker(root, recipe, lambda *step: None, lambda: False)


@pytest.fixture(scope="module")
def made(blend, tmp_path_factory):
    """A clip with a camera of its own, and the folder where it was made."""
    root = tmp_path_factory.mktemp("clips")
    return maker(root, blend, vary=("camera", "range")).make(3), staging_folder(root, 3)


def read_movie(file: Path) -> np.ndarray:
    return at_once(reading_movie(file, GenerationRequest(width=96, height=64, frames=9, start=1, end=9))).frames


def test_render_and_tracking_video_show_the_same_surface(made):
    record, folder = made
    video, tracking = read_movie(folder / record.video), read_movie(folder / record.tracking)
    red = video[..., 0].astype(int) - video[..., 1] > 40
    drawn = tracking.any(axis=-1)
    assert red[0].mean() > 0.02 and not (red == red[0]).all(), "it moves"
    alike = (red & drawn).sum(axis=(1, 2)) / (red | drawn).sum(axis=(1, 2))
    assert alike.min() > 0.85
    assert np.array_equal(BlenderImages().read(folder / record.image).shape, (64, 96, 3))


def test_a_point_keeps_its_colour_along_its_true_track(made):
    record, folder = made
    tracking, tracks = read_movie(folder / record.tracking).astype(int), read_tracks(folder / record.tracks)
    assert tracks.xy.shape[0] == 9 and tracks.xy.shape[1] > 5
    columns, rows = np.floor(tracks.xy[..., 0]), np.floor(tracks.xy[..., 1])
    errors = []
    for time in range(9):
        for point in np.flatnonzero(tracks.visible[time]):
            there = tracking[time, int(rows[time, point]), int(columns[time, point])]
            first = tracking[0, int(rows[0, point]), int(columns[0, point])]
            errors.append(np.abs(there - first)[:2].max())
    assert np.median(errors) <= 4, "of 255: a pixel is 2.7 levels wide"


def test_the_record_says_what_the_clip_was_made_of(made, blend):
    record, folder = made
    assert record.name == "00004" and (record.frames, record.width, record.height, record.fps) == (9, 96, 64, 24.0)
    assert record.prompt.startswith("a red box, the camera")
    (source,) = record.sources
    assert (source.path, source.licence, source.source) == (str(blend), "CC0", "a test") and len(source.sha256) == 64
    assert 1 <= record.settings["start"] <= 32 and record.settings["end"] == record.settings["start"] + 8
    path = read_camera_path(folder / record.camera)
    assert len(path.frames) == 9 and path.frames[0].frame == record.settings["start"]
    assert set(record.hashes) == {"video", "tracking"}


def test_a_clip_follows_from_seed_and_number_alone(made, blend, tmp_path):
    record, folder = made
    again = maker(tmp_path, blend, vary=("camera", "range"))
    other = again.make(0)
    same = again.make(3)
    for part in ("video", "tracking"):
        assert np.array_equal(read_movie(folder / getattr(record, part)), read_movie(staging_folder(tmp_path, 3) / getattr(same, part))), part
    assert same.settings == record.settings
    assert other.settings != record.settings
    assert maker(tmp_path, blend, vary=("camera", "range"), seed=1).make(3).settings != record.settings


def test_what_is_not_varied_stays_as_the_scene_has_it(blend):
    recipe = Recipe(**SMALL, scenes=(str(blend),), vary=())
    stage = set_stage(recipe, recipe.ingredients(0), 0)
    assert (stage.request.start, stage.request.end) == (1, 9)
    assert stage.scene.camera.name == "Camera" and stage.scene.world.name == "Night"
    assert tuple(round(value, 3) for value in bpy.data.materials["Red"].diffuse_color) == (1, 0.1, 0.1, 1)


def test_light_background_and_colours_vary(blend):
    recipe = Recipe(**SMALL, scenes=(str(blend),), vary=("lights", "background", "colours"))
    seen = set()
    for number in range(8):
        stage = set_stage(recipe, recipe.ingredients(number), number)
        lamps = [thing for thing in stage.scene.objects if thing.type == "LIGHT"]
        assert lamps, "there was none, so it got one"
        colour = bpy.data.materials["Red"].diffuse_color[:3]
        seen.add((stage.settings["background"], round(colour[0], 4), round(lamps[0].data.energy, 4)))
    assert len(seen) == 8 and {entry[0] for entry in seen} == {"colour", "sky", "own"}


def test_a_clip_that_cannot_be_made_leaves_nothing(tmp_path):
    empty = tmp_path / "empty.blend"
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(empty), copy=True)
    with pytest.raises(SceneError, match="nothing solid"):
        maker(tmp_path, empty).make(0)
    assert not staging_folder(tmp_path, 0).exists()


# characters and motions


def figure(bones=("Hips", "Chest")) -> bpy.types.Object:
    """A bent column on two bones, whose upper one nods once from frame 1 to 11."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.object.armature_add()
    armature = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    lower = armature.data.edit_bones[0]
    lower.name, lower.tail = bones[0], (0, 0, 1)
    upper = armature.data.edit_bones.new(bones[1])
    upper.head, upper.tail, upper.parent, upper.roll = (0, 0, 1), (0, 0.3, 2), lower, 0.7
    bpy.ops.object.mode_set(mode="OBJECT")
    for name, height in zip(bones, (0.5, 1.5)):
        bpy.ops.mesh.primitive_cube_add(size=0.8, location=(0, 0, height))
        box = bpy.context.object
        group = box.vertex_groups.new(name=name)
        group.add(range(8), 1.0, "REPLACE")
        box.parent = armature
        box.modifiers.new("Armature", "ARMATURE").object = armature
    return armature


def nod(armature: bpy.types.Object, bone: str = "Chest") -> None:
    bent = armature.pose.bones[bone]
    bent.rotation_mode = "QUATERNION"
    for frame, angle in ((1, 0.2), (11, 1.2)):
        bent.rotation_quaternion = (math.cos(angle / 2), math.sin(angle / 2), 0, 0)
        bent.keyframe_insert("rotation_quaternion", frame=frame)


def export(armature: bpy.types.Object, file: Path, motion: bool) -> Path:
    for thing in bpy.data.objects:
        thing.select_set(thing == armature or not motion)
    if file.suffix == ".fbx":
        bpy.ops.export_scene.fbx(filepath=str(file), use_selection=True, bake_anim=motion, bake_anim_use_all_actions=False, bake_anim_use_nla_strips=False, add_leaf_bones=False)
    else:
        bpy.ops.export_scene.gltf(filepath=str(file), use_selection=True, export_animations=motion)
    return file


@pytest.fixture(scope="module")
def parts(tmp_path_factory) -> Path:
    """Characters and motions of one rig in three formats."""
    folder = tmp_path_factory.mktemp("Teile für Clips")
    armature = figure()
    export(armature, folder / "column.fbx", motion=False)
    export(armature, folder / "column.glb", motion=False)
    nod(armature)
    export(armature, folder / "nod.glb", motion=True)
    bpy.context.scene.frame_set(1)
    export(armature, folder / "nod.fbx", motion=True)
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "nod.blend"), copy=True)
    armature = figure(("mixamorig:Hips", "mixamorig:Chest"))
    export(armature, folder / "prefixed.fbx", motion=False)
    armature = figure(("Root", "Tail"))
    nod(armature, "Tail")
    export(armature, folder / "wag.glb", motion=True)
    return folder


def bend(armature: bpy.types.Object, frame: int) -> np.ndarray:
    """Which way the upper bone points, in the world."""
    bpy.context.scene.frame_set(frame)
    seen = armature.evaluated_get(bpy.context.evaluated_depsgraph_get())
    upper = next(bone for bone in seen.pose.bones if bone.name.endswith("Chest"))
    matrix = seen.matrix_world
    return np.array((matrix @ upper.tail - matrix @ upper.head).normalized())


@pytest.mark.parametrize("character", ["column.fbx", "column.glb", "prefixed.fbx"])
@pytest.mark.parametrize("motion", ["nod.fbx", "nod.glb"])
def test_a_motion_bends_the_bones_of_another_file_s_character(parts, character, motion):
    armature = figure()
    nod(armature)
    true = [bend(armature, frame) for frame in (1, 6, 11)]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    brought = bring_character(scene, parts / character)
    give_motion(scene, brought, parts / motion, np.random.default_rng(0))
    first = int(brought.armature.animation_data.action.frame_range[0])
    for frame, wanted in zip((0, 5, 10), true):
        found = bend(brought.armature, first + frame)
        assert math.degrees(math.acos(min(1, float(found @ wanted)))) < 2, (frame, found, wanted)


def test_a_motion_of_other_bones_is_refused(parts):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    brought = bring_character(bpy.context.scene, parts / "column.glb")
    with pytest.raises(SceneError, match=r"wag.glb does not fit column.glb, which lacks . of its . bones \(.*Tail"):
        give_motion(bpy.context.scene, brought, parts / "wag.glb", np.random.default_rng(0))


def test_a_composed_clip_frames_its_character(parts, tmp_path):
    recipe = Recipe(**SMALL, characters=(str(parts / "column.glb"),), motions=(str(parts / "nod.blend"),), prompt="{character} {motion} in {world}")
    record = Maker(tmp_path, recipe, lambda *step: None, lambda: False).make(0)
    assert record.prompt.startswith("column nod in ") and len(record.sources) == 2
    tracks = read_tracks(staging_folder(tmp_path, 0) / record.tracks)
    assert len(set(tracks.objects.tolist())) >= 2, "the floor and the figure are in view"


def test_every_combination_comes_once_before_one_comes_again():
    recipe = Recipe(**SMALL, characters=("a", "b"), motions=("x", "y", "z"))
    chosen = [recipe.ingredients(number) for number in range(12)]
    assert len(set(chosen[:6])) == len(set(chosen[6:])) == 6 and chosen[:6] != chosen[6:]
    assert chosen[0] == recipe.ingredients(0) and isinstance(chosen[0], Ingredients)


# options


def recipe_from(*words) -> Recipe:
    return recipe_of(cli.parser().parse_args(["dataset", "blender", *map(str, words), "-o", "clips"]))


@pytest.mark.parametrize(
    "words, said",
    [
        (("--clips", "0"), "at least 1"),
        (("--vary", "weather"), "knows no 'weather'"),
        (("--prompt", "{hero} runs"), "knows no {hero}"),
        (("--prompt", "{scene"), "cannot be read"),
        (("--size", "100x64"), "size 100x64 is not possible"),
        (("--count", "10"), "10 frames is not possible"),
        (("--step", "0"), "step of 0"),
        (("--seed", "-1"), "seed -1 is out of range"),
        (("--characters", "."), "Give either of them"),
        (("--points", "points.csv"), "is no grid"),
        (("--render", "cycle"), "'cycle' is no way to render"),
    ],
)
def test_wrong_options_are_said(blend, words, said):
    with pytest.raises(UsageError) as refused:
        recipe_from(blend, *words)
    assert said in str(refused.value)


def test_sources_that_are_not_there_or_hold_nothing_are_said(tmp_path):
    for words, said in (((tmp_path / "none.blend",), "no folder"), (("--characters", tmp_path), "holds no file"), ((), "Nothing to make clips of")):
        with pytest.raises(UsageError, match=said):
            recipe_from(*words)


def test_a_sidecar_that_cannot_be_read_is_said(blend):
    copy = blend.with_name("copy.blend")
    copy.write_bytes(blend.read_bytes())
    copy.with_name("copy.blend.json").write_text('{"license": "CC0"}')
    with pytest.raises(UsageError, match="copy.blend.json cannot be read.*license"):
        recipe_from(copy)


def test_a_folder_goes_on_with_its_own_recipe_only(blend, tmp_path):
    recipe = recipe_from(blend)
    settle(tmp_path, recipe)
    settle(tmp_path, recipe)
    assert read_recipe(tmp_path) == recipe
    with pytest.raises(UsageError, match="was begun with seed 0, not seed 9"):
        settle(tmp_path, recipe_from(blend, "--seed", "9"))


# several Blenders

STAND_IN = """
import json, os, sys
numbers = [int(word) for word in sys.argv[1:] if word.isdigit()]
record = {"name": "", "prompt": "p", "video": "v", "tracking": "t", "frames": 9, "width": 96, "height": 64, "fps": 24}
for number in numbers:
    print(json.dumps({"event": "begin", "number": number}), flush=True)
    if number == 2:
        os._exit(9)
    if number == 3:
        print(json.dumps({"event": "failed", "number": 3, "message": "No.", "fix": ""}), flush=True)
        continue
    print(json.dumps({"event": "clip", "number": number, "record": {**record, "name": str(number)}}), flush=True)
"""


def stand_in(monkeypatch, tmp_path, program: str) -> None:
    (tmp_path / "stand_in.py").write_text(program)
    monkeypatch.setattr(pool, "das_command", lambda: [sys.executable, "-S", str(tmp_path / "stand_in.py")])


def test_a_blender_that_dies_fails_its_clip_alone(monkeypatch, tmp_path):
    stand_in(monkeypatch, tmp_path, STAND_IN)
    outcomes = list(make_all(tmp_path, range(7), 2, 20, lambda: False))
    failed = {each.number: each.message for each in outcomes if isinstance(each, Failed)}
    assert sorted(each.number for each in outcomes if isinstance(each, Made)) == [0, 1, 4, 5, 6]
    assert sorted(failed) == [2, 3] and "code 9" in failed[2] and failed[3] == "No."


@pytest.mark.parametrize(
    "program, said",
    [
        ("print('no licence server')", "did not start: no licence server"),
        (f"print({json.dumps(json.dumps({'event': 'error', 'kind': 'generation', 'message': 'Full.', 'fix': 'Free some.'}))})", "Full. Free some. The same command goes on"),
    ],
)
def test_what_would_fail_every_clip_ends_it_all(monkeypatch, tmp_path, program, said):
    stand_in(monkeypatch, tmp_path, program)
    with pytest.raises(GenerationError, match=said):
        list(make_all(tmp_path, range(3), 2, 20, lambda: False))
