"""What the user sees, a file a panel."""

from __future__ import annotations

import bpy

from . import history, live_preview, repaint, tasks, thumbnails
from .camera import DAS_PT_camera
from .check import DAS_PT_check
from .sidebar import DAS_PT_first_frame, DAS_PT_output, DAS_PT_sidebar

CLASSES = (
    DAS_PT_sidebar,
    *live_preview.CLASSES,
    *tasks.CLASSES,
    DAS_PT_check,
    DAS_PT_first_frame,
    *repaint.CLASSES,
    DAS_PT_output,
    DAS_PT_camera,
    *history.CLASSES,
)
LISTS = (history.DAS_UL_takes,)


def register() -> None:
    thumbnails.register()
    for cls in (*LISTS, *CLASSES):
        bpy.utils.register_class(cls)


def unregister() -> None:
    for cls in reversed((*LISTS, *CLASSES)):
        bpy.utils.unregister_class(cls)
    thumbnails.unregister()
