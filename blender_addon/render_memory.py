"""Before Blender renders, a backend on this machine gives back what it keeps loaded for the next job: one card serves both."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent

from ..shared import backend_process, client
from ..shared.errors import DasError
from .runner import runner

SECONDS_TO_RELEASE = 5.0  # a render waits no longer than this


@persistent
def release_before_render(*_) -> None:
    """Ask, unless the render is our own job's, whose generation comes next. A render goes on whatever the answer."""
    if runner.running:
        return
    try:
        connection = backend_process.find_backend()
        if connection is None or not connection.is_local:
            return
        with client.connect(connection, "Blender's render", SECONDS_TO_RELEASE) as peer:
            peer.release_memory(SECONDS_TO_RELEASE)
    except DasError as error:
        print(f"Diffusion as Shader: the backend keeps its memory. {error}")


def register() -> None:
    bpy.app.handlers.render_init.append(release_before_render)


def unregister() -> None:
    bpy.app.handlers.render_init.remove(release_before_render)
