"""What the user sees, a file a panel."""

from __future__ import annotations

import bpy

from . import history, live_preview, quality, queue, repaint, tasks, thumbnails
from .camera import DAS_PT_camera
from .check import DAS_PT_check
from .first_frame import DAS_PT_first_frame
from .output import DAS_PT_output
from .prompts import PRESETS
from .sidebar import DAS_PT_sidebar
from .twins import in_sequencer

CLASSES = (
    DAS_PT_sidebar,
    *live_preview.CLASSES,
    *queue.CLASSES,
    *tasks.CLASSES,
    DAS_PT_check,
    DAS_PT_first_frame,
    *repaint.CLASSES,
    *quality.CLASSES,
    DAS_PT_output,
    DAS_PT_camera,
    *history.CLASSES,
)
IN_SEQUENCER = tuple(in_sequencer(panel) for panel in CLASSES)
LISTS = (history.DAS_UL_takes,)


def register() -> None:
    thumbnails.register()
    for cls in (*LISTS, *PRESETS, *CLASSES, *IN_SEQUENCER):
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed((*LISTS, *PRESETS, *CLASSES, *IN_SEQUENCER)):
        bpy.utils.unregister_class(cls)
    thumbnails.unregister()
