"""What the user can do, a file a group. Ids begin with ``das.``"""

from __future__ import annotations

import bpy

from . import backend, camera, check, history, live_preview, models
from .generate import DAS_OT_cancel, DAS_OT_generate, DAS_OT_preview_tracking, DAS_OT_use_candidate

CLASSES = (DAS_OT_preview_tracking, DAS_OT_generate, DAS_OT_cancel, DAS_OT_use_candidate, *check.CLASSES, *camera.CLASSES, *backend.CLASSES, *models.CLASSES, *live_preview.CLASSES, *history.CLASSES)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    camera.register_menus()


def unregister() -> None:
    camera.unregister_menus()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
