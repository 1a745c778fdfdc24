"""What the user can do, a file a group. Ids begin with ``das.``"""

from __future__ import annotations

import bpy

from . import backend, camera, check, first_frame, history, live_preview, mending, models, presets, queue
from .generate import DAS_OT_cancel, DAS_OT_generate, DAS_OT_preview_tracking, DAS_OT_projection_preview, DAS_OT_use_candidate

CLASSES = (
    DAS_OT_preview_tracking,
    DAS_OT_projection_preview,
    DAS_OT_generate,
    DAS_OT_cancel,
    DAS_OT_use_candidate,
    *check.CLASSES,
    *camera.CLASSES,
    *first_frame.CLASSES,
    *presets.CLASSES,
    *mending.CLASSES,
    *backend.CLASSES,
    *models.CLASSES,
    *live_preview.CLASSES,
    *history.CLASSES,
    *queue.CLASSES,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    camera.register_menus()
    presets.register_shipped()


def unregister() -> None:
    presets.unregister_shipped()
    camera.unregister_menus()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
