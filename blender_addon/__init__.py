"""Everything that touches bpy. ``register`` and ``unregister`` are the extension's."""

from __future__ import annotations


def _parts() -> tuple:
    from . import backend_work, command_line, history_properties, live_preview
    from . import operators, panels, preferences, properties, queue_view, render_memory, runner

    return (
        properties, history_properties, preferences, queue_view, runner, live_preview, backend_work, render_memory,
        operators, panels, command_line,
    )  # fmt: skip


def register() -> None:
    for part in _parts():
        part.register()


def unregister() -> None:
    for part in reversed(_parts()):
        part.unregister()
