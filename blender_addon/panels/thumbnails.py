"""Small pictures of files, as Blender's icons."""

from __future__ import annotations

from pathlib import Path

import bpy.utils.previews
import numpy as np

from ..history import Picture

_icons: bpy.utils.previews.ImagePreviewCollection | None = None


def icon_of(file: Path) -> int:
    """The icon's number for ``template_icon``; 0 where the file is gone. One that is written anew gets a new icon."""
    if _icons is None or not file.is_file():
        return 0
    return icon_of_picture(Picture(file, file.stat().st_mtime_ns))


def icon_of_picture(picture: Picture | None) -> int:
    """As :func:`icon_of` of a file that was looked at before, so that nothing is read here."""
    if _icons is None or picture is None:
        return 0
    name = f"{picture.file}:{picture.written}"
    return (_icons[name] if name in _icons else _icons.load(name, str(picture.file), "IMAGE")).icon_id


def icon_of_pixels(name: str, pixels: np.ndarray) -> int:
    """The icon ``name`` of u8 [H,W,3], as it is now."""
    if _icons is None:
        return 0
    icon = _icons[name] if name in _icons else _icons.new(name)
    height, width = pixels.shape[:2]
    rgba = np.ones((height, width, 4), np.float32)
    rgba[..., :3] = pixels[::-1].astype(np.float32) / 255  # Blender's rows run up
    if tuple(icon.image_size) != (width, height):
        icon.image_size = width, height
    icon.image_pixels_float.foreach_set(rgba.ravel())
    return icon.icon_id


def register() -> None:
    global _icons
    _icons = bpy.utils.previews.new()


def unregister() -> None:
    global _icons
    bpy.utils.previews.remove(_icons)
    _icons = None
