"""Which frames of a scene become the video."""

from __future__ import annotations

import bpy

from ..shared.errors import UsageError
from .sequencer import sequencer_scene, strip_end, strip_start

RANGES = [
    ("scene", "Scene", "The scene's frame range"),
    ("preview", "Preview", "The preview range of the timeline"),
    ("markers", "Markers", "From the first selected marker to the last; all markers count where fewer than two are selected"),
    ("strip", "Active strip", "The frames that the active strip of the Sequencer shows"),
    ("custom", "Custom", "A range of its own"),
]


def frame_range(scene: bpy.types.Scene) -> tuple[float, float]:
    """First and last frame, inclusive, of what ``scene.das.range`` names. UsageError where there is no such thing."""
    settings = scene.das
    if settings.range == "custom":
        return float(settings.start), float(settings.end)
    return {"scene": _of_scene, "preview": _of_preview, "markers": _of_markers, "strip": _of_strip}[settings.range](scene)


def active_strip(scene: bpy.types.Scene) -> bpy.types.Strip | None:
    """Of the Sequencer that the workspace shows, or else of the scene's own."""
    for each in (sequencer_scene(bpy.context), scene):
        if each.sequence_editor and each.sequence_editor.active_strip:
            return each.sequence_editor.active_strip
    return None


def _of_scene(scene: bpy.types.Scene) -> tuple[float, float]:
    return float(scene.frame_start), float(scene.frame_end)


def _of_preview(scene: bpy.types.Scene) -> tuple[float, float]:
    if not scene.use_preview_range:
        raise UsageError("The timeline has no preview range.", "Set one with P in the Timeline, or choose another range.", "use_scene_range")
    return float(scene.frame_preview_start), float(scene.frame_preview_end)


def _of_markers(scene: bpy.types.Scene) -> tuple[float, float]:
    markers = list(scene.timeline_markers)
    selected = [marker for marker in markers if marker.select]
    frames = [marker.frame for marker in (selected if len(selected) > 1 else markers)]
    if len(set(frames)) < 2:
        raise UsageError("The timeline has no two markers.", "Add them with M in the Timeline, or choose another range.", "use_scene_range")
    return float(min(frames)), float(max(frames))


def _of_strip(scene: bpy.types.Scene) -> tuple[float, float]:
    strip = active_strip(scene)
    if strip is None:
        raise UsageError("The Sequencer has no active strip.", "Click on one there, or choose another range.", "use_scene_range")
    return float(strip_start(strip)), float(strip_end(strip) - 1)
