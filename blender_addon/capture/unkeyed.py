"""What the user has changed and not keyed yet outlives an evaluation of the animation."""

from __future__ import annotations

import re
from contextlib import contextmanager, suppress
from typing import Iterator

import bpy

LAST_STEP = re.compile(r"""(?:(?P<owner>.*)\.)?(?P<name>\w+)$""")


@contextmanager
def unkeyed_changes_kept() -> Iterator[None]:
    """The values of all animated properties are afterwards what they were before."""
    before = [(block, owner, name, _value(owner, name)) for block, owner, name in _animated()]
    try:
        yield
    finally:
        for block, owner, name, value in before:
            with suppress(ReferenceError):  # another file was opened; an owner inside of a block does not say so
                if block.name and _value(owner, name) != value:
                    setattr(owner, name, value)


def _animated() -> Iterator[tuple[bpy.types.ID, bpy.types.bpy_struct, str]]:
    """(data-block, owner in it, property name) of every property with a curve. Custom properties in brackets are left out."""
    for block in _blocks():
        for path in {curve.data_path for curve in _curves(block.animation_data)}:
            step = LAST_STEP.match(path)
            if not step:
                continue
            try:
                owner = block.path_resolve(step["owner"]) if step["owner"] else block
            except ValueError:
                continue  # a curve of something that is gone: Blender ignores it too
            if hasattr(owner, step["name"]):
                yield block, owner, step["name"]


def _blocks() -> Iterator[bpy.types.ID]:
    """Every data-block with an action, node trees inside of materials and worlds too."""
    for prop in bpy.data.bl_rna.properties:
        if prop.type == "COLLECTION" and prop.identifier != "all_ids":
            for block in getattr(bpy.data, prop.identifier):
                for each in (block, getattr(block, "node_tree", None)):
                    if each and getattr(each, "animation_data", None) and each.animation_data.action:
                        yield each


def _curves(animation: bpy.types.AnimData) -> Iterator[bpy.types.FCurve]:
    for layer in animation.action.layers:
        for strip in layer.strips:
            channels = strip.channelbag(animation.action_slot) if animation.action_slot else None
            yield from channels.fcurves if channels else ()


def _value(owner: bpy.types.bpy_struct, name: str):
    value = getattr(owner, name)
    return tuple(value) if hasattr(value, "__len__") and not isinstance(value, str) else value
