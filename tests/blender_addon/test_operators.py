"""The add-on in Blender: registering, the operators, and a job that a file load or the end of the add-on stops."""

import time
from types import SimpleNamespace

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader import blender_addon
from diffusion_as_shader.blender_addon import history, properties, queue_view, sequencer
from diffusion_as_shader.blender_addon import runner as runner_module
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest
from diffusion_as_shader.shared.take import Take

from .scenes import REQUEST, moving_cube

SECONDS = 120


@pytest.fixture
def scene(saved_scene):
    return saved_scene


def run_to_end() -> None:
    """What the timer does in a window."""
    end = time.monotonic() + SECONDS
    while runner.step():
        assert time.monotonic() < end


def step_until(reached) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        assert runner.step() and time.monotonic() < end


def test_register_twice_leaves_nothing():
    if hasattr(bpy.types.Scene, "das"):
        properties.unregister()
    before, handlers = set(dir(bpy.types)), list(bpy.app.handlers.load_pre)
    for _ in range(2):
        blender_addon.register()
        assert properties.request_of(bpy.context.scene).engine == "projection" and hasattr(bpy.types, "DAS_PT_sidebar")
        blender_addon.unregister()
        assert set(dir(bpy.types)) == before
        assert not hasattr(bpy.types.Scene, "das") and list(bpy.app.handlers.load_pre) == handlers


def test_settings_and_request_say_the_same(scene):
    request = GenerationRequest(
        prompt="a fox", negative_prompt="blur", seed=5, start=3, end=20, frames=17, width=480, height=320,
        fit="pad", hidden="black", first_frame=FirstFrame(source="cycles", samples=4), scene_fps=24,
    )  # fmt: skip
    properties.apply_request(scene, request)
    assert properties.request_of(scene) == request


def test_ranges(scene):
    scene.frame_start, scene.frame_end = 10, 30
    scene.das.range = "scene"
    assert properties.frame_range(scene) == (10, 30)
    scene.das.range = "preview"
    with pytest.raises(Exception, match="no preview range"):
        properties.frame_range(scene)
    scene.use_preview_range, scene.frame_preview_start, scene.frame_preview_end = True, 12, 20
    assert properties.frame_range(scene) == (12, 20)


def test_preview_tracking_makes_a_strip(scene, tmp_path):
    assert bpy.ops.das.preview_tracking() == {"FINISHED"}
    assert runner.running and not (tmp_path / "das" / "shot-001" / "tracking").exists(), "the operator returns at once"
    run_to_end()
    assert (runner.failed, runner.message) == (False, "shot-001 is ready.")
    strip = sequencer.find_strip(scene, tmp_path / "das" / "shot-001" / "tracking")
    assert strip.directory == "//das/shot-001/tracking/" and len(strip.elements) == 12


def test_one_capture_at_a_time_and_cancel(scene, tmp_path):
    assert not bpy.ops.das.cancel.poll()
    bpy.ops.das.generate()
    scene.das.seed = 3
    bpy.ops.das.preview_tracking()
    bpy.ops.das.generate()
    assert not bpy.ops.das.check_shot.poll()
    step_until((tmp_path / "das" / "shot-001" / "tracking" / "0002.png").exists)
    runner.cancel(runner.jobs[2])
    assert bpy.ops.das.cancel() == {"FINISHED"}
    assert not (tmp_path / "das" / "shot-002" / "take.json").exists(), "it waits"
    run_to_end()
    assert (runner.message, runner.failed, runner.running) == ("shot-002 is ready.", False, False)
    assert Take.open(tmp_path / "das" / "shot-001", BlenderImages()).record.state == "cancelled"
    second = Take.open(tmp_path / "das" / "shot-002", BlenderImages()).record
    assert (second.state, second.request.seed) == ("prepared", 3)
    assert not (tmp_path / "das" / "shot-003").exists(), "it never began"


def test_errors_are_told_with_their_fix(scene):
    scene.das.width = 100
    with pytest.raises(RuntimeError, match="multiples of 16"):
        bpy.ops.das.generate()
    scene.das.width = 96
    for one in scene.objects:
        one.hide_render = one.type == "MESH"
    bpy.ops.das.preview_tracking()
    run_to_end()
    assert runner.failed and "geometry" in runner.message and runner.fix


def test_no_camera_no_button(scene):
    scene.camera = None
    assert not bpy.ops.das.generate.poll()


def test_an_unsaved_file_says_what_to_do(addon):
    properties.apply_request(moving_cube(), REQUEST)
    with pytest.raises(RuntimeError, match="has no place yet"):
        bpy.ops.das.preview_tracking()


def test_loading_a_file_cancels_the_job(scene, tmp_path):
    bpy.ops.das.preview_tracking()
    step_until((tmp_path / "das" / "shot-001" / "tracking" / "0002.png").exists)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert not runner.running
    assert Take.open(tmp_path / "das" / "shot-001", BlenderImages()).record.state == "cancelled"


class Rendering:
    """bpy of a Blender that renders in the background of its window."""

    def __init__(self):
        self.app = SimpleNamespace(is_job_running=lambda kind: kind == "RENDER", timers=bpy.app.timers)

    def __getattr__(self, name):
        return getattr(bpy, name)


def test_nothing_of_ours_runs_while_blender_renders(scene, tmp_path, monkeypatch):
    bpy.ops.das.preview_tracking()
    with monkeypatch.context() as rendering:
        for module in (runner_module, queue_view, history):
            rendering.setattr(module, "bpy", Rendering())
        rendering.setattr(history.History, "_read", None)
        rendering.setattr(queue_view.QueueView, "step", None)
        waits = (runner._tick(), queue_view.queue._tick(), history.history._tick())
    assert all(seconds > 0 for seconds in waits), "they look again later"
    assert not any((tmp_path / "das" / "shot-001").iterdir()) and runner.job.progress.phase == "starting"
    assert runner._tick() is not None and runner.job.progress.phase != "starting"
    runner.close()


def test_disabling_the_addon_cancels_the_job(scene, tmp_path):
    bpy.ops.das.preview_tracking()
    step_until((tmp_path / "das" / "shot-001" / "tracking" / "0002.png").exists)
    blender_addon.unregister()
    try:
        assert not runner.running
        assert Take.open(tmp_path / "das" / "shot-001", BlenderImages()).record.state == "cancelled"
    finally:
        blender_addon.register()


def test_undo_and_removed_strips_harm_nothing(scene, tmp_path):
    bpy.ops.das.preview_tracking()
    step_until((tmp_path / "das" / "shot-001" / "tracking" / "0003.png").exists)
    strips = scene.sequence_editor.strips
    strips.remove(sequencer.find_strip(scene, tmp_path / "das" / "shot-001" / "tracking"))
    run_to_end()
    assert not runner.failed and len(strips) == 0


def test_every_operator_and_setting_explains_itself(addon):
    for name in ("preview_tracking", "generate", "cancel"):
        said = getattr(bpy.ops.das, name).get_rna_type().description
        assert len(said) > 40 and not said.endswith("."), "Blender adds the full stop"
    for prop in bpy.context.scene.das.bl_rna.properties:
        assert prop.identifier in ("rna_type", "name") or len(prop.description) > 15, prop.identifier
