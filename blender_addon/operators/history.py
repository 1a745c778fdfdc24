"""What can be done with the takes of this .blend."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import StringProperty
from send2trash import TrashPermissionError, send2trash

from ...shared.errors import UsageError
from ..history import FAVOURITE, Entry, history, read_entry
from ..properties import apply_request
from ..queue_view import job_of_take, resume
from ..sequencer import add_beside, add_take, find_strip, sequencer_scene, show_in_sequencer
from .reporting import reports_errors


class _OnATake:
    """An operator on the take of a folder, or on the one that is chosen in the list."""

    folder: StringProperty(name="Folder", description="The take's folder; empty for the chosen one", options={"SKIP_SAVE", "HIDDEN"})

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        self.act(context, self._entry(context))
        history.look()
        return {"FINISHED"}

    def _entry(self, context: bpy.types.Context) -> Entry:
        entry = read_entry(Path(self.folder)) if self.folder else context.window_manager.das_history.entry
        if entry is None:
            raise UsageError(f"There is no take {self.folder}.".replace(" .", "."), "Choose one that is in the list.")
        return entry


class DAS_OT_apply_take(_OnATake, bpy.types.Operator):
    bl_idname = "das.apply_take"
    bl_label = "Re-apply settings"
    bl_description = "Give the panel all settings that this take was made with"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(
        name="File", description="A take's take.json or video", subtype="FILE_PATH", options={"SKIP_SAVE", "HIDDEN"}
    )

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        apply_request(context.scene, entry.request)
        self.report({"INFO"}, rpt_("The settings of {} are back.").format(entry.name))

    def _entry(self, context: bpy.types.Context) -> Entry:
        if not self.filepath:
            return super()._entry(context)
        entry = _take_around(Path(self.filepath))
        if entry is None:
            raise UsageError(f"{Path(self.filepath).name} belongs to no take.", "Drop a take's take.json, or the video beside it.")
        return entry


class DAS_OT_add_take(_OnATake, bpy.types.Operator):
    bl_idname = "das.add_take"
    bl_label = "Add to Sequencer"
    bl_description = "Show this take's frames as a strip over the range that they were made of"
    bl_options = {"REGISTER", "UNDO"}

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        scene = _shown_scene(context)
        if find_strip(scene, entry.folder / "frames"):
            self.report({"INFO"}, rpt_("{} is in the Sequencer already; this is one more strip of it.").format(entry.name))
        add_take(scene, entry.folder, entry.request)


class DAS_OT_compare_takes(_OnATake, bpy.types.Operator):
    bl_idname = "das.compare_takes"
    bl_label = "Compare"
    bl_description = "Show the chosen take and another one side by side, as two strips above all others"
    bl_options = {"REGISTER", "UNDO"}

    other: StringProperty(name="With", description="The name of the other take; empty for the one named in the panel")

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        name = self.other or context.window_manager.das_history.other
        other = history.entries.get(name)
        if other is None or other.folder == entry.folder:
            raise UsageError("There is nothing to compare with.", "Name another take under Compare with.")
        add_beside(_shown_scene(context), [(each.folder, each.request) for each in (entry, other)])


class DAS_OT_resume_take(_OnATake, bpy.types.Operator):
    bl_idname = "das.resume_take"
    bl_label = "Resume"
    bl_description = "Go on with this take where it was left, or generate its video from what was captured then"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        if job_of_take(entry.folder):
            raise UsageError(f"{entry.name} is at work already.", "See the queue.")
        if not entry.can_resume:
            raise UsageError(f"{entry.name} was not captured to its end.", "Re-apply its settings and generate again.")
        if context.scene.das.show_strip:
            _shown_scene(context)
        resume(entry)


class DAS_OT_favourite_take(_OnATake, bpy.types.Operator):
    bl_idname = "das.favourite_take"
    bl_label = "Favourite"
    bl_description = "Mark this take as a favourite, or no longer"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        mark = entry.folder / FAVOURITE
        mark.unlink() if entry.favourite else mark.touch()
        history.read()


class DAS_OT_open_take_folder(_OnATake, bpy.types.Operator):
    bl_idname = "das.open_take_folder"
    bl_label = "Open folder"
    bl_description = "Show this take's files in the system's file browser"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        bpy.ops.wm.path_open(filepath=str(entry.folder))


class DAS_OT_delete_take(_OnATake, bpy.types.Operator):
    bl_idname = "das.delete_take"
    bl_label = "Delete"
    bl_description = "Move this take's folder to the system's trash. Strips of it stay, and show nothing until it is restored"
    bl_options = {"REGISTER"}

    def act(self, context: bpy.types.Context, entry: Entry) -> None:
        if job_of_take(entry.folder):
            raise UsageError(f"{entry.name} is at work.", "Cancel it first.")
        try:
            send2trash(entry.folder)
        except (TrashPermissionError, OSError) as error:
            raise UsageError(f"{entry.name} cannot be moved to the trash: {error}.", "Delete its folder by hand.") from None
        history.read()
        self.report({"INFO"}, rpt_("{} is in the trash.").format(entry.name))


def _shown_scene(context: bpy.types.Context) -> bpy.types.Scene:
    scene = sequencer_scene(context)
    show_in_sequencer(context, scene)
    return scene


def _take_around(file: Path) -> Entry | None:
    """The take that a file lies in."""
    folder = next((one for one in file.parents if (one / "take.json").is_file()), None)
    return read_entry(folder) if folder else None


class DAS_OT_drop_video(bpy.types.Operator):
    bl_idname = "das.drop_video"
    bl_label = "Drop a take's video"
    bl_description = "Give the panel the settings of the take that this video is of. Any other becomes what Blender makes of it: an empty"
    bl_options = {"REGISTER", "UNDO", "INTERNAL"}

    filepath: StringProperty(name="File", description="The video's file", subtype="FILE_PATH", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        if _take_around(Path(self.filepath)):
            return bpy.ops.das.apply_take(filepath=self.filepath)
        self.report({"INFO"}, rpt_("{} belongs to no take, so it becomes an empty.").format(Path(self.filepath).name))
        return bpy.ops.object.empty_image_add("INVOKE_DEFAULT", filepath=self.filepath)


class DAS_FH_take(bpy.types.FileHandler):
    """A take.json dropped into the viewport."""

    bl_idname = "DAS_FH_take"
    bl_label = "Diffusion as Shader take"
    bl_import_operator = DAS_OT_apply_take.bl_idname
    bl_file_extensions = ".json"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


class DAS_FH_video(bpy.types.FileHandler):
    """A take's video dropped into the viewport. Blender does not say which file it is, so where there are no takes all are its own."""

    bl_idname = "DAS_FH_video"
    bl_label = "Diffusion as Shader video"
    bl_import_operator = DAS_OT_drop_video.bl_idname
    bl_file_extensions = ".mp4"

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        history.look()
        return bool(history.entries) and DAS_FH_take.poll_drop(context)


CLASSES = (
    DAS_OT_apply_take,
    DAS_OT_add_take,
    DAS_OT_compare_takes,
    DAS_OT_resume_take,
    DAS_OT_favourite_take,
    DAS_OT_open_take_folder,
    DAS_OT_delete_take,
    DAS_OT_drop_video,
    DAS_FH_take,
    DAS_FH_video,
)
