"""Check the shot, and mend what the check has found."""

from __future__ import annotations

import bpy
from bpy.props import BoolProperty, FloatProperty, IntProperty, StringProperty

from ...shared.errors import DasError
from ...shared.request import MODEL_FRAMES
from ..preflight import Check
from ..properties import request_of
from ..runner import runner
from .reporting import reports_errors


class DAS_OT_check_shot(bpy.types.Operator):
    bl_idname = "das.check_shot"
    bl_label = "Check shot"
    bl_description = "Capture and measure the range, and say whether the shot can work before anything is generated"
    bl_options = {"REGISTER"}

    with_first_frame: BoolProperty(
        name="With first frame",
        description="Render the first frame too, and compare its edges with the tracking video",
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if runner.uses_scene:
            cls.poll_message_set("A job is running already")
        return not runner.uses_scene

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        check = Check(context.scene, request_of(context.scene), with_first_frame=self.with_first_frame)
        runner.check = check
        runner.start(check)
        return {"FINISHED"}


class _Mends:
    """An operator that changes the scene as a finding asks; the check it came from is then out of date."""

    bl_options = {"REGISTER", "UNDO"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        self.mend(context)
        runner.tell("")
        if runner.check:
            runner.check.mended = True
        return {"FINISHED"}


class _SetsRange(_Mends):
    start: IntProperty(name="Start", description="The first frame of the range")
    end: IntProperty(name="End", description="The last frame of the range")

    def mend(self, context: bpy.types.Context) -> None:
        settings = context.scene.das
        settings.range, settings.start, settings.end = "custom", self.start, self.end


class DAS_OT_move_start(_SetsRange, bpy.types.Operator):
    bl_idname = "das.move_start"
    bl_label = "Move start"
    bl_description = "Begin the range at the frame that shows the most of the scene"


class DAS_OT_end_earlier(_SetsRange, bpy.types.Operator):
    bl_idname = "das.end_earlier"
    bl_label = "End earlier"
    bl_description = "End the range before too much comes into view that the first frame does not show"


class DAS_OT_split_at_cut(_SetsRange, bpy.types.Operator):
    bl_idname = "das.split_at_cut"
    bl_label = "Split at cut"
    bl_description = "Take the longest piece of the range that has no camera cut"


class DAS_OT_clamp_range(_SetsRange, bpy.types.Operator):
    bl_idname = "das.clamp_range"
    bl_label = "Clamp range"
    bl_description = "Take only those frames of the range in which the scene has an animation"


class DAS_OT_model_range(_SetsRange, bpy.types.Operator):
    bl_idname = "das.model_range"
    bl_label = "One a frame"
    bl_description = "Make the range as long as the video has frames, so that each result is one frame of the scene"


class DAS_OT_model_frames(_Mends, bpy.types.Operator):
    bl_idname = "das.model_frames"
    bl_label = f"{MODEL_FRAMES} frames"
    bl_description = f"Ask for {MODEL_FRAMES} frames, which is the number that the model was trained on"

    def mend(self, context: bpy.types.Context) -> None:
        context.scene.das.frames = MODEL_FRAMES


class _ChangesCamera(_Mends):
    camera: StringProperty(name="Camera", description="The camera's name; empty for the scene's camera")

    def _object(self, context: bpy.types.Context) -> bpy.types.Object:
        camera = bpy.data.objects.get(self.camera) if self.camera else context.scene.camera
        if camera is None or camera.type != "CAMERA":
            raise DasError(f"There is no camera {self.camera}.", "Check the shot again.")
        return camera


class DAS_OT_choose_camera(_ChangesCamera, bpy.types.Operator):
    bl_idname = "das.choose_camera"
    bl_label = "Choose camera"
    bl_description = "Make this camera the scene's camera, through which the video is seen"

    def mend(self, context: bpy.types.Context) -> None:
        context.scene.camera = self._object(context)


class DAS_OT_set_perspective(_ChangesCamera, bpy.types.Operator):
    bl_idname = "das.set_perspective"
    bl_label = "Set to perspective"
    bl_description = "Make the camera a perspective one, which is the only kind that can be tracked"

    def mend(self, context: bpy.types.Context) -> None:
        self._object(context).data.type = "PERSP"


class DAS_OT_widen_clipping(_ChangesCamera, bpy.types.Operator):
    bl_idname = "das.widen_clipping"
    bl_label = "Widen clipping"
    bl_description = "Move the camera's clipping distances so that they cut nothing of the shot away"

    clip_start: FloatProperty(name="Clip start", description="The new clip start; 0 leaves it", precision=5)
    clip_end: FloatProperty(name="Clip end", description="The new clip end; 0 leaves it")

    def mend(self, context: bpy.types.Context) -> None:
        lens = self._object(context).data
        lens.clip_start = self.clip_start or lens.clip_start
        lens.clip_end = self.clip_end or lens.clip_end


class DAS_OT_bake_rigid_bodies(_Mends, bpy.types.Operator):
    bl_idname = "das.bake_rigid_bodies"
    bl_label = "Bake"
    bl_description = "Bake the rigid bodies, which Blender does not simulate while rendering. Blender stands still meanwhile"

    def mend(self, context: bpy.types.Context) -> None:
        world = context.scene.rigidbody_world
        if world is None:
            raise DasError("The scene has no rigid bodies.", "Check the shot again.")
        with context.temp_override(scene=context.scene, point_cache=world.point_cache):
            bpy.ops.ptcache.bake(bake=True)


CLASSES = (
    DAS_OT_check_shot,
    DAS_OT_move_start,
    DAS_OT_end_earlier,
    DAS_OT_split_at_cut,
    DAS_OT_clamp_range,
    DAS_OT_model_range,
    DAS_OT_model_frames,
    DAS_OT_choose_camera,
    DAS_OT_set_perspective,
    DAS_OT_widen_clipping,
    DAS_OT_bake_rigid_bodies,
)
