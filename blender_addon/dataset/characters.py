"""A character of a file in a scene, and the motion of another file on its bones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import bpy
import numpy as np

from ...shared.errors import SceneError, first_line
from .retarget import Retarget

MATCHING = 0.8  # of a motion's bones that the character must have
BONE = re.compile(r'pose\.bones\["((?:[^"\\]|\\.)*)"\]')


class Figure(NamedTuple):
    """A character: all its objects, its armature where it has one, and its file."""

    things: list[bpy.types.Object]
    armature: bpy.types.Object | None
    file: Path


class Motion(NamedTuple):
    """The action that was chosen; ``only`` where its file has no other."""

    name: str
    only: bool


def bring_character(scene: bpy.types.Scene, file: Path) -> Figure:
    """The meshes of a file with their armature, in the scene where the file has them. SceneError where there are none."""
    things = _bring(scene, file)
    armatures = [thing for thing in things if thing.type == "ARMATURE"]
    armature = max(armatures, key=lambda each: len(each.data.bones), default=None)
    if not any(thing.type == "MESH" for thing in things):
        raise SceneError(f"{file} holds no mesh.", "Give --characters files with a mesh, best with an armature.")
    return Figure(things, armature, file)


def give_motion(scene: bpy.types.Scene, figure: Figure, file: Path, random: np.random.Generator) -> Motion:
    """Let the character do one of a file's actions. SceneError where the file has none, or its bones are others."""
    if figure.armature is None:
        raise SceneError(f"{figure.file} has no armature for the motion of {file.name}.", "Give characters with an armature, or leave --motions away.")
    actions, origin = _read_actions(file)
    posing = sorted((action for action in actions if bones_of(action)), key=lambda each: each.name)
    if not posing:
        raise SceneError(f"{file} holds no action that moves bones.", "Give --motions files with an animated armature.")
    action = posing[random.integers(len(posing))]
    pairs = _pair_bones(figure, action, file)
    retarget = Retarget(origin, figure.armature, pairs) if origin else None
    if retarget is None or retarget.fits:
        _lead(action, pairs)
        _assign(figure.armature, action)
    else:
        _assign(origin, action)
        _clear_pose(figure.armature)
        scene.collection.objects.link(origin)
        retarget.bake(scene, *(int(frame) for frame in action.frame_range))
        scene.collection.objects.unlink(origin)
    return Motion(action.name, len(posing) == 1)


def own_range(figure: Figure, scene: bpy.types.Scene) -> tuple[int, int]:
    """The frames of the character's action, or the scene's where it has none."""
    animation = figure.armature.animation_data if figure.armature else None
    if animation is None or animation.action is None:
        return scene.frame_start, scene.frame_end
    first, last = animation.action.frame_range
    return int(first), max(int(last), int(first) + 1)


def curves_of(action: bpy.types.Action) -> Iterable[bpy.types.FCurve]:
    for layer in action.layers:
        for strip in layer.strips:
            for bag in strip.channelbags:
                yield from bag.fcurves


def bones_of(action: bpy.types.Action) -> set[str]:
    """The names of the bones that an action moves."""
    return {found[1] for curve in curves_of(action) if (found := BONE.match(curve.data_path))}


def _pair_bones(figure: Figure, action: bpy.types.Action, file: Path) -> dict[str, str]:
    """The character's bone for each that the motion moves; names may differ in what stands before a colon ('mixamorig:Hips')."""
    own = {bone.name for bone in figure.armature.data.bones}
    plain = {_plain(name): name for name in own}
    wanted = bones_of(action)
    pairs = {name: name if name in own else plain.get(_plain(name)) for name in wanted}
    missing = sorted(name for name, target in pairs.items() if target is None)
    if len(missing) > (1 - MATCHING) * len(wanted):
        listed = ", ".join(missing[:3]) + (" ..." if len(missing) > 3 else "")
        raise SceneError(
            f"The motion {file.name} does not fit {figure.file.name}, which lacks {len(missing)} of its {len(wanted)} bones ({listed}).",
            "Give motions of the character's own rig, or retarget them in Blender first.",
        )
    return {name: target for name, target in pairs.items() if target}


def _lead(action: bpy.types.Action, pairs: dict[str, str]) -> None:
    for curve in curves_of(action):
        found = BONE.match(curve.data_path)
        if found and pairs.get(found[1], found[1]) != found[1]:
            curve.data_path = curve.data_path.replace(f'"{found[1]}"', f'"{pairs[found[1]]}"', 1)


def _clear_pose(armature: bpy.types.Object) -> None:
    """Its rest pose, without any action."""
    animation = armature.animation_data or armature.animation_data_create()
    animation.action = None
    for bone in armature.pose.bones:
        bone.matrix_basis.identity()


def _plain(bone: str) -> str:
    return bone.rpartition(":")[2]


def _assign(armature: bpy.types.Object, action: bpy.types.Action) -> None:
    animation = armature.animation_data or armature.animation_data_create()
    for track in list(animation.nla_tracks):
        animation.nla_tracks.remove(track)
    animation.action = action
    if animation.action_slot is None:
        suitable = list(animation.action_suitable_slots)
        if suitable:
            animation.action_slot = suitable[0]


def _read_actions(file: Path) -> tuple[list[bpy.types.Action], bpy.types.Object | None]:
    """The actions of a file, and the armature that they were made on where the file brings one: it is no part of the scene."""
    before = set(bpy.data.actions)
    if file.suffix.lower() == ".blend":
        with _loading(file) as (source, target):
            target.actions = list(source.actions)
        return [action for action in target.actions if action], None
    things = _import(file)
    armatures = [thing for thing in things if thing.type == "ARMATURE"]
    for thing in things:
        for holder in thing.users_collection:
            holder.objects.unlink(thing)
    return [action for action in bpy.data.actions if action not in before], max(armatures, key=lambda each: len(each.data.bones), default=None)


def _bring(scene: bpy.types.Scene, file: Path) -> list[bpy.types.Object]:
    """A file's objects, linked to the scene."""
    if file.suffix.lower() != ".blend":
        return _import(file)
    with _loading(file) as (source, target):
        target.objects = list(source.objects)
    things = [thing for thing in target.objects if thing and thing.type in ("MESH", "ARMATURE", "EMPTY", "CURVE", "SURFACE", "META", "FONT")]
    for thing in _of_rig(things):
        scene.collection.objects.link(thing)
    return _of_rig(things)


def _of_rig(things: list[bpy.types.Object]) -> list[bpy.types.Object]:
    """The armatures and what hangs on them; all where there is none. A ground that stands in the file stays there."""
    armatures = {thing for thing in things if thing.type == "ARMATURE"}
    if not armatures:
        return things
    return [thing for thing in things if thing in armatures or _holders(thing) & armatures]


def _holders(thing: bpy.types.Object) -> set[bpy.types.Object]:
    """Those that an object is parented to, and whose bones bend it."""
    found = {modifier.object for modifier in thing.modifiers if modifier.type == "ARMATURE" and modifier.object}
    above = thing.parent
    while above:
        found.add(above)
        above = above.parent
    return found


def _import(file: Path) -> list[bpy.types.Object]:
    """An FBX or glTF file's objects, which the importer puts into the open scene."""
    before = set(bpy.data.objects)
    bring = bpy.ops.import_scene.fbx if file.suffix.lower() == ".fbx" else bpy.ops.import_scene.gltf
    try:
        bring(filepath=str(file))
    except RuntimeError as error:
        raise _unreadable(file, _last_line(error)) from None
    return [thing for thing in bpy.data.objects if thing not in before]


def _last_line(error: RuntimeError) -> str:
    """The importers are Python: what they fail with comes as a whole traceback."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip() and not line.startswith("Location:")]
    return (lines or ["Blender does not say why"])[-1].removeprefix("Error: ").rstrip(".")


def _loading(file: Path):
    try:
        return bpy.data.libraries.load(str(file))
    except OSError as error:
        raise _unreadable(file, first_line(error)) from None


def _unreadable(file: Path, reason: str) -> SceneError:
    return SceneError(f"{file} cannot be read: {reason}.", "Give FBX, glTF or .blend files that this Blender can import.")
