"""Camera paths: into a file, from a file, and moves by preset or in words."""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import Callable, Iterator

import bpy
from bpy.app.translations import pgettext_rpt as rpt_
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntVectorProperty, StringProperty
from bpy_extras.io_utils import ExportHelper, ImportHelper

from ...shared.camera_files import FORMATS, read_path, write_path
from ...shared.camera_motion import motion
from ...shared.request import check
from ..camera_import import add_moved_camera, add_path_camera
from ..camera_path import frames_to_key, looked_at, path_of_track, read_cameras, with_motion
from ..properties import request_of
from ..runner import runner
from .reporting import reports_errors

CUSTOM = "CUSTOM"
GUESS = "GUESS"
FORMAT_ITEMS = [(name, each.title, each.lacks or "Holds all of a path") for name, each in FORMATS.items()]
ORDERS = [
    ("sequence", "In sequence", "Each segment in the frame that the camera has reached"),
    ("reference", "Reference", "The order of the reference program: each segment in the frame before those on its left"),
]
# name: (label, motion of a distance); signs say where the content goes, the camera goes the other way
PRESETS: dict[str, tuple[str, Callable[[float], str]]] = {
    "ORBIT_LEFT": ("Orbit left", lambda distance: f"trans 0 0 {-distance:g} 0 0; rot y -30; trans 0 0 {distance:g} 0 0"),
    "ORBIT_RIGHT": ("Orbit right", lambda distance: f"trans 0 0 {-distance:g} 0 0; rot y 30; trans 0 0 {distance:g} 0 0"),
    "PUSH_IN": ("Push in", lambda distance: f"trans 0 0 {-distance / 3:g}"),
    "PULL_OUT": ("Pull out", lambda distance: f"trans 0 0 {distance / 3:g}"),
    "PAN_LEFT": ("Pan left", lambda distance: "rot y 15"),
    "PAN_RIGHT": ("Pan right", lambda distance: "rot y -15"),
    "TILT_UP": ("Tilt up", lambda distance: "rot x -10"),
    "TILT_DOWN": ("Tilt down", lambda distance: "rot x 10"),
    "TRUCK_LEFT": ("Truck left", lambda distance: f"trans {distance / 5:g} 0 0"),
    "TRUCK_RIGHT": ("Truck right", lambda distance: f"trans {-distance / 5:g} 0 0"),
    "CRANE_UP": ("Crane up", lambda distance: f"trans 0 {distance / 5:g} 0"),
    "SPIRAL": ("Spiral", lambda distance: f"spiral {2 * distance:g}"),
}  # fmt: skip


class _OnACamera:
    """An operator that waits for a running job, and says an error in one sentence."""

    needs_camera = True

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if runner.uses_scene:
            cls.poll_message_set("A job is running already")
            return False
        if cls.needs_camera and context.scene.camera is None:
            cls.poll_message_set("The scene has no camera")
            return False
        return True

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        for sentence in self.work(context):
            self.report({"INFO"}, sentence)
        return {"FINISHED"}


class DAS_OT_export_camera_path(_OnACamera, bpy.types.Operator, ExportHelper):
    bl_idname = "das.export_camera_path"
    bl_label = "Export camera path"
    bl_description = "Write the camera of the range, through the video's window, as a file that other tools read"
    bl_options = {"REGISTER"}
    filename_ext = ".json"

    format: EnumProperty(name="Format", description="What the file is for", items=FORMAT_ITEMS)
    filter_glob: StringProperty(default="*.json;*.txt;*.npz", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        folder = Path(bpy.data.filepath).parent if bpy.data.filepath else Path.home()
        self.filepath = str(folder / FORMATS[self.format].file)
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def check(self, context: bpy.types.Context) -> bool:
        """The name follows the format: the usual one stays the usual one, another gets the right ending."""
        file, usual = Path(self.filepath), FORMATS[self.format].file
        mine = file.name in {each.file for each in FORMATS.values()}
        ending = file.suffix if file.suffix in (".json", ".txt", ".npz") else ""
        right = file.with_name(usual) if mine else Path(str(file).removesuffix(ending) + Path(usual).suffix)
        changed, self.filepath = right != file, str(right)
        return changed

    def work(self, context: bpy.types.Context) -> list[str]:
        request = check(request_of(context.scene))
        with _progress(context) as progress:
            track = read_cameras(context.scene, request, progress=progress)
        write_path(path_of_track(track, request), Path(self.filepath), self.format)
        return [*track.notes, *filter(None, [FORMATS[self.format].lacks]), rpt_("Wrote {}.").format(self.filepath)]


class DAS_OT_import_camera_path(_OnACamera, bpy.types.Operator, ImportHelper):
    bl_idname = "das.import_camera_path"
    bl_label = "Import camera path"
    bl_description = "Make a new camera that follows a path file, and make it the scene's"
    bl_options = {"REGISTER", "UNDO"}
    needs_camera = False

    format: EnumProperty(
        name="Format",
        description="What the file is",
        items=[(GUESS, "By the file", "Known by the file's name and by what it holds"), *FORMAT_ITEMS],
    )
    size: IntVectorProperty(
        name="Size", description="The pictures' width and height, for files that do not say it; 0 elsewhere", size=2, min=0
    )
    set_render_size: BoolProperty(name="Set render size", description="Give the scene the path's render size and pixel aspect too")
    filter_glob: StringProperty(default="*.json;*.txt;*.npz", options={"HIDDEN"})

    def work(self, context: bpy.types.Context) -> list[str]:
        format = None if self.format == GUESS else self.format
        path = read_path(Path(self.filepath), format, tuple(self.size) if all(self.size) else None)
        camera, notes = add_path_camera(context.scene, path, fit=context.scene.das.fit, set_render_size=self.set_render_size)
        first, last = path.frames[0].frame, path.frames[-1].frame
        return [*notes, rpt_("{} follows the path in frames {:g} to {:g}.").format(camera.name, first, last)]


class DAS_OT_add_camera_motion(_OnACamera, bpy.types.Operator):
    bl_idname = "das.add_camera_motion"
    bl_label = "Add camera motion"
    bl_description = "Make a new camera that does what the scene's does, and a move on top of it over the range"
    bl_options = {"REGISTER", "UNDO"}

    preset: EnumProperty(
        name="Move",
        description="Which way the camera goes",
        items=[*((name, label, make(5)) for name, (label, make) in PRESETS.items()), (CUSTOM, "In words", "The motion's own words")],
    )
    distance: FloatProperty(
        name="Distance", description="How far away that is which the camera looks at", default=5, min=0.001, subtype="DISTANCE"
    )
    text: StringProperty(
        name="Motion", description="trans DX DY DZ [S E]; rot AXIS DEGREES [S E]; spiral RADIUS [S E]", default="trans 0 0 -1; rot y 15"
    )
    order: EnumProperty(name="Order", description="How segments follow each other", items=ORDERS)

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self.distance = looked_at(context.scene, context.evaluated_depsgraph_get()) or self.distance
        return context.window_manager.invoke_props_dialog(self)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.prop(self, "preset")
        if self.preset == CUSTOM:
            layout.prop(self, "text")
            layout.prop(self, "order")
        else:
            layout.prop(self, "distance")
            layout.label(text=self.motion)

    @property
    def motion(self) -> str:
        """The words of the move."""
        return self.text if self.preset == CUSTOM else PRESETS[self.preset][1](self.distance)

    def work(self, context: bpy.types.Context) -> list[str]:
        request = check(request_of(context.scene))
        order = self.order if self.preset == CUSTOM else "sequence"
        motion(self.motion, request.frames, order)  # a mistake is said before a camera is read
        with _progress(context) as progress:
            track = read_cameras(context.scene, request, frames_to_key(request), progress=progress)
        moved = with_motion(track, request, self.motion, order)
        camera, notes = add_moved_camera(context.scene, moved)
        return [*track.notes, *notes, rpt_("{} is now the scene's camera.").format(camera.name)]


@contextmanager
def _progress(context: bpy.types.Context) -> Iterator[Callable[[int, int], None]]:
    """Reading blocks Blender: the pointer shows how far it is."""
    manager = context.window_manager
    manager.progress_begin(0, 1)
    try:
        yield lambda done, total: manager.progress_update(done / total)
    finally:
        manager.progress_end()


def draw_import(self, context: bpy.types.Context) -> None:
    self.layout.operator(DAS_OT_import_camera_path.bl_idname, text="Camera path (DaS)")


def draw_export(self, context: bpy.types.Context) -> None:
    self.layout.operator(DAS_OT_export_camera_path.bl_idname, text="Camera path (DaS)")


CLASSES = (DAS_OT_export_camera_path, DAS_OT_import_camera_path, DAS_OT_add_camera_motion)


def register_menus() -> None:
    """File > Import and File > Export."""
    bpy.types.TOPBAR_MT_file_import.append(draw_import)
    bpy.types.TOPBAR_MT_file_export.append(draw_export)


def unregister_menus() -> None:
    bpy.types.TOPBAR_MT_file_import.remove(draw_import)
    bpy.types.TOPBAR_MT_file_export.remove(draw_export)
