"""What the list of takes shows. It belongs to the window manager: nothing of it is saved or undone."""

from __future__ import annotations

import bpy
from bpy.app.handlers import persistent
from bpy.props import BoolProperty, CollectionProperty, IntProperty, PointerProperty, StringProperty

from .history import Entry, history


class DasTakeName(bpy.types.PropertyGroup):
    """A row: the take's name alone, by which the history knows the rest."""


class DasHistory(bpy.types.PropertyGroup):
    """The list, and how it is searched."""

    takes: CollectionProperty(type=DasTakeName)
    index: IntProperty(name="Take", description="The take that the buttons below are for")
    search: StringProperty(name="Search", description="Only takes whose prompt or name has these words", options={"TEXTEDIT_UPDATE"})
    favourites: BoolProperty(name="Favourites", description="Only takes that are marked as favourites")
    other: StringProperty(name="Compare with", description="The take to see beside the chosen one")

    @property
    def chosen(self) -> str:
        """The chosen take's name, empty where there is none."""
        return self.takes[self.index].name if 0 <= self.index < len(self.takes) else ""

    @property
    def entry(self) -> Entry | None:
        return history.entries.get(self.chosen)


@persistent
def forget_takes(*_) -> None:
    """Another file has other takes."""
    history.close()
    bpy.context.window_manager.das_history.takes.clear()


def register() -> None:
    for cls in (DasTakeName, DasHistory):
        bpy.utils.register_class(cls)
    bpy.types.WindowManager.das_history = PointerProperty(type=DasHistory)
    bpy.app.handlers.load_post.append(forget_takes)


def unregister() -> None:
    history.close()
    bpy.app.handlers.load_post.remove(forget_takes)
    del bpy.types.WindowManager.das_history
    for cls in (DasHistory, DasTakeName):
        bpy.utils.unregister_class(cls)
