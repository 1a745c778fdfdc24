"""What the buttons beside errors do, where no other operator does it."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty

from ...shared.errors import SceneError, UsageError
from ...shared.request import MODEL_FRAMES
from ..error_report import report_of_job, report_of_upkeep
from ..images import BlenderImages
from ..preferences import ADDON
from ..runner import runner
from ..upkeep import upkeep
from .check import _Mends
from .reporting import reports_errors

SMALLEST = 16


class DAS_OT_use_scene_range(_Mends, bpy.types.Operator):
    bl_idname = "das.use_scene_range"
    bl_label = "Use scene range"
    bl_description = "Make the video of the scene's frame range"

    def mend(self, context: bpy.types.Context) -> None:
        context.scene.das.range = "scene"


class DAS_OT_use_model_range(_Mends, bpy.types.Operator):
    bl_idname = "das.use_model_range"
    bl_label = "One a frame"
    bl_description = f"Begin where the range begins, ask for {MODEL_FRAMES} frames, and take one of the scene for each of them"

    def mend(self, context: bpy.types.Context) -> None:
        settings = context.scene.das
        start = settings.start if settings.range == "custom" else context.scene.frame_start
        settings.range, settings.frames = "custom", MODEL_FRAMES
        settings.start, settings.end = start, start + MODEL_FRAMES - 1


class DAS_OT_round_size(_Mends, bpy.types.Operator):
    bl_idname = "das.round_size"
    bl_label = "Round size"
    bl_description = "Give the video the nearest size whose width and height are multiples of 16"

    def mend(self, context: bpy.types.Context) -> None:
        settings = context.scene.das
        settings.width, settings.height = _rounded(settings.width), _rounded(settings.height)


class DAS_OT_smaller_video(_Mends, bpy.types.Operator):
    bl_idname = "das.smaller_video"
    bl_label = "Half size"
    bl_description = "Give the video half its width and height, which needs a quarter of the memory"

    def mend(self, context: bpy.types.Context) -> None:
        settings = context.scene.das
        settings.width, settings.height = _rounded(settings.width / 2), _rounded(settings.height / 2)


class DAS_OT_use_image_size(_Mends, bpy.types.Operator):
    bl_idname = "das.use_image_size"
    bl_label = "Use the image's size"
    bl_description = "Give the video the size of the first frame's image, where that is a multiple of 16"

    def mend(self, context: bpy.types.Context) -> None:
        settings = context.scene.das
        pixels = BlenderImages().read(Path(bpy.path.abspath(settings.first_frame_path)))
        height, width = pixels.shape[:2]
        if width % SMALLEST or height % SMALLEST:
            raise UsageError(f"The image is {width}x{height}, and a video's sides are multiples of 16.", "Crop the image, or render the first frame.")
        settings.width, settings.height = width, height


class DAS_OT_render_first_frame(_Mends, bpy.types.Operator):
    bl_idname = "das.render_first_frame"
    bl_label = "Render it"
    bl_description = "Let the scene's own engine render the first frame, in place of an image file"

    def mend(self, context: bpy.types.Context) -> None:
        context.scene.das.first_frame = "render"


class DAS_OT_use_automatic_plan(_Mends, bpy.types.Operator):
    bl_idname = "das.use_automatic_plan"
    bl_label = "Automatic plan"
    bl_description = "Let the backend choose the memory plan that fits its graphics card"

    def mend(self, context: bpy.types.Context) -> None:
        context.scene.das.memory_plan = "auto"


class DAS_OT_estimate_depth(_Mends, bpy.types.Operator):
    bl_idname = "das.estimate_depth"
    bl_label = "Estimate depth"
    bl_description = "Let Depth Anything estimate how far away each pixel is; its weights are needed"

    def mend(self, context: bpy.types.Context) -> None:
        context.scene.das.tasks.depth = "depth_anything"


class DAS_OT_find_camera(_Mends, bpy.types.Operator):
    bl_idname = "das.find_camera"
    bl_label = "Set camera"
    bl_description = "Make the scene's first perspective camera, by name, the one through which the video is seen"

    def mend(self, context: bpy.types.Context) -> None:
        cameras = [thing for thing in context.scene.objects if thing.type == "CAMERA" and thing.data.type == "PERSP"]
        if not cameras:
            raise SceneError("The scene holds no perspective camera.", "Add one with Add, Camera.")
        context.scene.camera = min(cameras, key=lambda camera: camera.name)


class DAS_OT_use_view_layer(_Mends, bpy.types.Operator):
    bl_idname = "das.use_view_layer"
    bl_label = "Switch on"
    bl_description = "Use the view layer of this window for rendering"

    def mend(self, context: bpy.types.Context) -> None:
        context.view_layer.use = True


class DAS_OT_resume_last(bpy.types.Operator):
    bl_idname = "das.resume_last"
    bl_label = "Go on"
    bl_description = "Go on with the take whose job has just failed; a new backend is started where the former is gone"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return runner.last_take is not None

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        return bpy.ops.das.resume_take(folder=str(runner.last_take))


class DAS_OT_show_preferences(bpy.types.Operator):
    bl_idname = "das.show_preferences"
    bl_label = "Preferences"
    bl_description = "Open the add-on's preferences, where the backend and the models are"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return bpy.ops.preferences.addon_show(module=ADDON)


class DAS_OT_show_network_preferences(bpy.types.Operator):
    bl_idname = "das.show_network_preferences"
    bl_label = "Network preferences"
    bl_description = "Open Preferences, System, where Blender is allowed to go online"

    def execute(self, context: bpy.types.Context) -> set[str]:
        return bpy.ops.screen.userpref_show(section="SYSTEM")


class DAS_OT_copy_report(bpy.types.Operator):
    bl_idname = "das.copy_report"
    bl_label = "Copy report"
    bl_description = "Copy the error with all versions and the end of the log to the clipboard, without names of yours and of folders"
    bl_options = {"REGISTER"}

    of_preferences: BoolProperty(name="Of Preferences", description="What Preferences did last, in place of the last job", options={"SKIP_SAVE"})

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = report_of_upkeep(upkeep) if self.of_preferences else report_of_job(runner)
        self.report({"INFO"}, "The report is in the clipboard.")
        return {"FINISHED"}


def _rounded(side: float) -> int:
    return max(SMALLEST, round(side / SMALLEST) * SMALLEST)


CLASSES = (
    DAS_OT_use_scene_range,
    DAS_OT_use_model_range,
    DAS_OT_round_size,
    DAS_OT_smaller_video,
    DAS_OT_use_image_size,
    DAS_OT_render_first_frame,
    DAS_OT_use_automatic_plan,
    DAS_OT_estimate_depth,
    DAS_OT_find_camera,
    DAS_OT_use_view_layer,
    DAS_OT_resume_last,
    DAS_OT_show_preferences,
    DAS_OT_show_network_preferences,
    DAS_OT_copy_report,
)
