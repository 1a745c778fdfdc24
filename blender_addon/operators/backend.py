"""Install, update, repair and remove the backend; start and stop it; connect with one on another machine."""

from __future__ import annotations

from pathlib import Path

import bpy
from bpy.props import BoolProperty, StringProperty

from ...shared import home
from ...shared.errors import UsageError
from ..backend_work import Connecting, Installation, Removal, Starting, Stopping, check_online
from ..preferences import own_preferences
from ..runner import runner
from ..stepwise import Stepwise
from ..upkeep import install_log, redraw_upkeep, upkeep
from .reporting import reports_errors


class Upkeeps:
    """An operator that hands a work to Preferences' own runner and returns at once."""

    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if upkeep.running:
            cls.poll_message_set("Something is going on in Preferences already")
        return not upkeep.running

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        upkeep.start(self.work())
        redraw_upkeep()
        return {"FINISHED"}

    def work(self) -> Stepwise:
        raise NotImplementedError


class StopsBackend(Upkeeps):
    """One that would end what is being generated."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if runner.running:
            cls.poll_message_set("A job is running")
            return False
        return super().poll(context)


class DAS_OT_install_backend(Upkeeps, bpy.types.Operator):
    bl_idname = "das.install_backend"
    bl_label = "Install backend"
    bl_description = "Make an environment for the backend beside the former one, and use it once it stands. Needs the network"

    again: BoolProperty(name="Again", description="Also where an environment of this version stands: repair it", options={"SKIP_SAVE"})

    def work(self) -> Stepwise:
        check_online("installing the backend")
        chosen = own_preferences()
        python = chosen.backend_python and bpy.path.abspath(chosen.backend_python)
        return Installation(chosen.backend_kind, python, self.again)


class DAS_OT_remove_backend(StopsBackend, bpy.types.Operator):
    bl_idname = "das.remove_backend"
    bl_label = "Remove backend"
    bl_description = "Stop the backend and delete what was installed here. Weights, takes, and environments made elsewhere stay"

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(self, event)

    def work(self) -> Stepwise:
        return Removal()


class DAS_OT_start_backend(Upkeeps, bpy.types.Operator):
    bl_idname = "das.start_backend"
    bl_label = "Try"
    bl_description = "Start the backend, or reach the one that runs, and say which engines it has"

    def work(self) -> Stepwise:
        return Starting()


class DAS_OT_restart_backend(StopsBackend, bpy.types.Operator):
    bl_idname = "das.restart_backend"
    bl_label = "Restart"
    bl_description = "Stop the backend and start it again, as after an update"

    def work(self) -> Stepwise:
        return Stopping(again=True)


class DAS_OT_stop_backend(StopsBackend, bpy.types.Operator):
    bl_idname = "das.stop_backend"
    bl_label = "Stop"
    bl_description = "Stop the backend. It starts by itself when it is needed"

    def work(self) -> Stepwise:
        return Stopping()


class DAS_OT_cancel_upkeep(bpy.types.Operator):
    bl_idname = "das.cancel_upkeep"
    bl_label = "Cancel"
    bl_description = "Stop what is going on here. An installation is undone; a download goes on later where it is"
    bl_options = {"REGISTER"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        return upkeep.running

    def execute(self, context: bpy.types.Context) -> set[str]:
        upkeep.cancel()
        return {"FINISHED"}


class DAS_OT_connect_backend(Upkeeps, bpy.types.Operator):
    bl_idname = "das.connect_backend"
    bl_label = "Connect"
    bl_description = "Choose the copy of the connection file of a backend on another machine, and use that one if it answers"

    filepath: StringProperty(subtype="FILE_PATH", options={"SKIP_SAVE"})
    filter_glob: StringProperty(default="*.json", options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def work(self) -> Stepwise:
        return Connecting(Path(bpy.path.abspath(self.filepath)), _connect)


def _connect(file: str) -> None:
    own_preferences().connection = file


class DAS_OT_disconnect_backend(bpy.types.Operator):
    bl_idname = "das.disconnect_backend"
    bl_label = "Disconnect"
    bl_description = "Use this machine's own backend again. The other machine's goes on"
    bl_options = {"REGISTER"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        _connect("")
        return {"FINISHED"}


class DAS_OT_open_install_log(bpy.types.Operator):
    bl_idname = "das.open_install_log"
    bl_label = "Open log"
    bl_description = "Open what was said while the backend was installed the last time"
    bl_options = {"REGISTER"}

    @reports_errors
    def execute(self, context: bpy.types.Context) -> set[str]:
        file = install_log()
        if not file.exists():
            raise UsageError("Nothing has been installed here yet.", f"The log will be {file.relative_to(home.home())} in the DAS_HOME folder.")
        bpy.ops.wm.path_open(filepath=str(file))
        return {"FINISHED"}


CLASSES = (
    DAS_OT_install_backend,
    DAS_OT_remove_backend,
    DAS_OT_start_backend,
    DAS_OT_restart_backend,
    DAS_OT_stop_backend,
    DAS_OT_cancel_upkeep,
    DAS_OT_connect_backend,
    DAS_OT_disconnect_backend,
    DAS_OT_open_install_log,
)
