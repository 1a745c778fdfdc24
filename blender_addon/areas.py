"""The areas of all of Blender's windows."""

from __future__ import annotations

from collections.abc import Iterator

import bpy


def areas_of(kind: str) -> Iterator[bpy.types.Area]:
    """All that are open of an ``ui_type``, such as IMAGE_EDITOR."""
    for window in bpy.context.window_manager.windows:
        yield from (area for area in window.screen.areas if area.ui_type == kind)


def show_in(area: bpy.types.Area, image: bpy.types.Image) -> None:
    """Let an Image Editor show the whole of an image."""
    area.spaces.active.image = image
    window = next(one for one in bpy.context.window_manager.windows if area in one.screen.areas.values())
    region = next(one for one in area.regions if one.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        if bpy.ops.image.view_all.poll():
            bpy.ops.image.view_all(fit_view=True)


def redraw(*kinds: str) -> None:
    """Let areas of these types show what has changed."""
    for kind in kinds:
        for area in areas_of(kind):
            area.tag_redraw()


def redraw_sidebars() -> None:
    """Let the sidebars of viewports and Sequencers show what has changed; what they stand beside has not."""
    for kind in ("VIEW_3D", "SEQUENCE_EDITOR"):
        for area in areas_of(kind):
            for region in area.regions:
                if region.type == "UI":
                    region.tag_redraw()
