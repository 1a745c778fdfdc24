"""List, fetch, check and remove weights."""

from __future__ import annotations

import bpy
from bpy.props import StringProperty

from ...shared import home
from ..backend_work import ModelWork, check_online
from ..preferences import own_preferences
from ..stepwise import Stepwise
from .backend import Upkeeps
from .reporting import reports_errors


class _OnModel(Upkeeps):
    model: StringProperty(name="Model", description="Its name, as the list has it", options={"SKIP_SAVE"})


class DAS_OT_list_models(Upkeeps, bpy.types.Operator):
    bl_idname = "das.list_models"
    bl_label = "List"
    bl_description = "See which models there are, which of them are on this machine, and what each is for"

    def work(self) -> Stepwise:
        return ModelWork("list")


class DAS_OT_pull_model(_OnModel, bpy.types.Operator):
    bl_idname = "das.pull_model"
    bl_label = "Download"
    bl_description = "Fetch the weights, from where the last time stopped, and compare every file with its sha256"

    def work(self) -> Stepwise:
        check_online("a download")
        return ModelWork("pull", self.model, own_preferences().hub_token)


class DAS_OT_verify_model(_OnModel, bpy.types.Operator):
    bl_idname = "das.verify_model"
    bl_label = "Verify"
    bl_description = "Read every file of the weights again and compare it with its sha256"

    def work(self) -> Stepwise:
        return ModelWork("verify", self.model)


class DAS_OT_remove_model(_OnModel, bpy.types.Operator):
    bl_idname = "das.remove_model"
    bl_label = "Remove"
    bl_description = "Delete the downloaded files of these weights for good. What you have put beside them stays"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def work(self) -> Stepwise:
        return ModelWork("remove", self.model)


class DAS_OT_open_models_folder(bpy.types.Operator):
    bl_idname = "das.open_models_folder"
    bl_label = "Open folder"
    bl_description = "Show the folder where weights are kept"
    bl_options = {"REGISTER"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = home.model_folder()
        folder.mkdir(parents=True, exist_ok=True)
        bpy.ops.wm.path_open(filepath=str(folder))
        return {"FINISHED"}


CLASSES = (DAS_OT_list_models, DAS_OT_pull_model, DAS_OT_verify_model, DAS_OT_remove_model, DAS_OT_open_models_folder)
