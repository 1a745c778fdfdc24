"""Rendering without a trace: a copy of the scene to render, and the user's scene as it was afterwards."""

from __future__ import annotations

import traceback

import bpy

from ...shared.errors import SceneError
from ..render_job import Render, Renders
from ..stepwise import find_scene

ENGINE_ID = "DAS_CAPTURE"


class RenderCopy:
    """``with RenderCopy(scene) as copy``: ``copy.scene`` may be changed and rendered; it is gone afterwards.

    Objects are shared with the user's scene, the scene's own settings are not. Sequencer, compositor, stereo,
    border, freestyle and motion blur are off: one strip would hide the engine, a File Output node would write files.
    """

    def __init__(self, scene: bpy.types.Scene):
        check_not_rendering()
        self.original = scene
        self.had_render_result = render_result() is not None

    def __enter__(self) -> RenderCopy:
        first_layer(self.original)  # an error comes before anything is made
        self.stage = bpy.data.scenes.new("DaS stage")
        self.scene = self.original.copy()
        self._made = [self.scene.session_uid, self.stage.session_uid]
        self._from = self.original.session_uid
        render = self.scene.render
        for switch in ("use_sequencer", "use_compositing", "use_multiview", "use_border", "use_freestyle", "use_motion_blur"):
            setattr(render, switch, False)
        render.use_persistent_data = False
        chosen = first_layer(self.scene).name
        for layer in self.scene.view_layers:
            layer.use = layer.name == chosen
        return self

    def __exit__(self, *_) -> None:
        for scene in filter(None, map(find_scene, self._made)):  # none where an undo or another file has taken them
            bpy.data.scenes.remove(scene)
        if not self.had_render_result and (image := render_result()):
            bpy.data.images.remove(image)
        if original := find_scene(self._from):
            _repeat_frame_handlers(original)

    def rendering(self, brief: bool = False) -> Renders[None]:
        """One render of the copy's first used view layer at its frame; SceneError with Blender's reason where it refuses."""
        self.stage.frame_current = self.scene.frame_current  # Blender takes the frame from the context's scene
        try:
            yield from Render(self.scene, self.stage, brief=brief)
        except RuntimeError as error:
            reason = str(error).removeprefix("Error: ").strip().rstrip(".")
            raise SceneError(f"Blender cannot render this scene: {reason}.", "Make it render with F12 first.") from None


def check_not_rendering() -> None:
    """SceneError while a render job or another capture runs: Blender renders one thing at a time."""
    if bpy.types.RenderEngine.bl_rna_get_subclass_py(ENGINE_ID):
        raise SceneError("A capture is already running.", "Wait until it has ended.")
    if bpy.app.is_job_running("RENDER"):
        raise SceneError("Blender is rendering.", "Wait until the render has ended, or stop it, and try again.")


def first_layer(scene: bpy.types.Scene) -> bpy.types.ViewLayer:
    """The view layer that is captured and rendered: the first that is used for rendering."""
    for layer in scene.view_layers:
        if layer.use:
            return layer
    raise SceneError("No view layer is used for rendering.", "Switch on Use for Rendering in the view layer properties.", "use_view_layer")


def rendered_objects(scene: bpy.types.Scene) -> list[bpy.types.Object]:
    """The scene's objects and those of all collections that these instance, however deep."""
    found: dict[bpy.types.Object, None] = {}
    waiting = list(scene.objects)
    while waiting:
        thing = waiting.pop()
        if thing not in found:
            found[thing] = None
            if thing.instance_type == "COLLECTION" and thing.instance_collection:
                waiting.extend(thing.instance_collection.all_objects)
    return list(found)


def render_result() -> bpy.types.Image | None:
    return next((image for image in bpy.data.images if image.type == "RENDER_RESULT"), None)


def _repeat_frame_handlers(scene: bpy.types.Scene) -> None:
    """Frame handlers ran at the captured frames; at the user's frame again, their effects are as they were.

    They are called as Blender calls them, an error printed and not raised. ``scene.frame_set`` would do it too,
    and would lose what is not keyed.
    """
    handlers = bpy.app.handlers
    if not (handlers.frame_change_pre or handlers.frame_change_post):
        return
    depsgraph = scene.view_layers[0].depsgraph
    for handler, second in [(each, None) for each in handlers.frame_change_pre] + [
        (each, depsgraph) for each in handlers.frame_change_post
    ]:
        try:
            handler(scene) if getattr(getattr(handler, "__code__", None), "co_argcount", 2) == 1 else handler(scene, second)
        except Exception:
            traceback.print_exc()
    bpy.context.view_layer.update()
