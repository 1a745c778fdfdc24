"""Small pictures of files, as Blender's icons."""

from __future__ import annotations

from pathlib import Path

import bpy.utils.previews

_icons: bpy.utils.previews.ImagePreviewCollection | None = None


def icon_of(file: Path) -> int:
    """The icon's number for ``template_icon``; 0 where the file is gone. One that is written anew gets a new icon."""
    if _icons is None or not file.is_file():
        return 0
    name = f"{file}:{file.stat().st_mtime_ns}"
    return (_icons[name] if name in _icons else _icons.load(name, str(file), "IMAGE")).icon_id


def register() -> None:
    global _icons
    _icons = bpy.utils.previews.new()


def unregister() -> None:
    global _icons
    bpy.utils.previews.remove(_icons)
    _icons = None
