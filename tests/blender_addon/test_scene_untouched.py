"""The user's file before and after, data-block by data-block: after a capture, a first frame, an error, a cancel."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec
from .scenes import REQUEST, moving_cube
from .snapshot import differences, snapshot

from diffusion_as_shader.blender_addon.capture import geometry
from diffusion_as_shader.blender_addon.capture.first_frame import first_frame
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.shared.errors import Cancelled, SceneError


@pytest.fixture
def scene(tmp_path):
    """A moving cube with a strip in the sequencer, a File Output in the compositor, a marker's camera, an action
    on the lens, edits that are not keyed, and a selection."""
    scene = moving_cube()
    scene.frame_set(5, subframe=0.25)
    scene.sequence_editor_create()
    editor = scene.sequence_editor
    strips = editor.strips
    arguments = {"name": "colour", "type": "COLOR", "channel": 1, "frame_start": 1}
    length = {"length": 12} if bpy.app.version >= (5, 0) else {"frame_end": 12}
    strips.new_effect(**arguments, **length)
    _add_file_output(scene, tmp_path / "composited")
    camera = scene.camera
    camera.data.keyframe_insert("lens", frame=1)
    scene.timeline_markers.new("bound", frame=1).camera = camera
    bpy.data.objects["Cube"].location = (0.3, 0.4, 0.5)
    bpy.context.view_layer.update()
    return scene


def _add_file_output(scene, folder) -> None:
    if hasattr(scene, "compositing_node_group"):
        tree = bpy.data.node_groups.new("Compositing", "CompositorNodeTree")
        scene.compositing_node_group = tree
        output = tree.nodes.new("CompositorNodeOutputFile")
        output.directory = str(folder)
        output.file_output_items.new("RGBA", "picture")
    else:
        scene.use_nodes = True
        tree = scene.node_tree
        output = tree.nodes.new("CompositorNodeOutputFile")
        output.base_path = str(folder)
    layers = tree.nodes.new("CompositorNodeRLayers")
    tree.links.new(layers.outputs["Image"], output.inputs[0])


def render(scene, file) -> bytes:
    """A real render of the scene by Cycles, and what the Render Result holds of it, as a file."""
    scene.render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 1, "CPU"
    scene.render.resolution_x, scene.render.resolution_y = 48, 32
    bpy.ops.render.render(scene=scene.name)
    return saved_result(scene, file)


def saved_result(scene, file) -> bytes:
    bpy.data.images["Render Result"].save_render(str(file), scene=scene)
    return file.read_bytes()


def state(scene) -> tuple:
    return scene.frame_current, scene.frame_subframe, scene.camera.name, bpy.context.scene.name, bpy.context.object.name


def work(scene) -> None:
    capture(scene, REQUEST)
    first_frame(scene, REQUEST, BlenderImages())


def test_a_capture_and_a_first_frame_change_nothing(scene, tmp_path):
    before, was = snapshot(), state(scene)
    work(scene)
    assert differences(before, snapshot()) == {} and state(scene) == was
    assert len(before) > 1000
    assert not (tmp_path / "composited").exists()


def test_a_second_take_captures_the_same(scene):
    first, second = capture(scene, REQUEST), capture(scene, REQUEST)
    for one, other in zip(first.frames, second.frames, strict=True):
        assert len(one.positions) and np.array_equal(one.positions, other.positions)
        assert np.array_equal(one.camera.world_to_camera, other.camera.world_to_camera)


def test_the_render_result_stays(scene, tmp_path):
    scene.render.use_compositing = scene.render.use_sequencer = False
    picture = render(scene, tmp_path / "before.png")
    before = snapshot()
    work(scene)
    assert differences(before, snapshot()) == {}
    assert saved_result(scene, tmp_path / "after.png") == picture


def test_an_error_in_the_capture_changes_nothing(scene, monkeypatch):
    def broken(self, depsgraph):
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr(geometry.InstanceReader, "read", broken)
    before, was = snapshot(), state(scene)
    with pytest.raises(RuntimeError, match="broken on purpose"):
        capture(scene, REQUEST)
    assert differences(before, snapshot()) == {} and state(scene) == was
    assert bpy.types.RenderEngine.bl_rna_get_subclass_py("DAS_CAPTURE") is None


def test_a_cancel_changes_nothing(scene):
    before, was, asked = snapshot(), state(scene), []

    def after_three() -> bool:
        asked.append(True)
        return len(asked) > 3

    with pytest.raises(Cancelled):
        capture(scene, REQUEST, cancelled=after_three)
    assert len(asked) == 4 and differences(before, snapshot()) == {} and state(scene) == was


def test_an_unusable_camera_changes_nothing(scene):
    scene.camera.data.type = "PANO"
    before = snapshot()
    with pytest.raises(SceneError, match="panoramic"):
        work(scene)
    assert differences(before, snapshot()) == {}


@pytest.mark.parametrize("two_arguments", [True, False])
def test_what_frame_handlers_do_is_as_it_was(scene, two_arguments):
    """A handler that drives an object by the frame: captured as it moves, at the user's frame afterwards."""
    cube = bpy.data.objects["Cube"]
    cube.animation_data_clear()

    def move(scene):
        cube.location = (0, 0, scene.frame_current / 10)
        cube.pass_index = len(scene.objects)  # which scene it was called with last

    handler = (lambda scene, depsgraph: move(scene)) if two_arguments else move
    bpy.app.handlers.frame_change_pre.append(handler)
    try:
        scene.frame_set(5)
        before = snapshot()
        captured = capture(scene, msgspec.structs.replace(REQUEST, start=1, end=9))
        heights = [float(frame.positions[:, 2].mean()) for frame in captured.frames]
        assert np.allclose(heights, np.arange(1, 10) / 10, atol=1e-6)
        assert differences(before, snapshot()) == {}
    finally:
        bpy.app.handlers.frame_change_pre.remove(handler)
