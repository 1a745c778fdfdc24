"""`blender -b FILE --command das ...`: the command line inside Blender."""

from __future__ import annotations

import bpy

from ..shared.cli import main

_registered: list = []


def register() -> None:
    _registered.append(bpy.utils.register_cli_command("das", main))


def unregister() -> None:
    bpy.utils.unregister_cli_command(_registered.pop())
