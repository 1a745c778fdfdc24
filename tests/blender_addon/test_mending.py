"""The buttons beside errors, and the report of an error that has none."""

from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader import blender_addon
from diffusion_as_shader.blender_addon.error_report import report_of_job, report_of_upkeep
from diffusion_as_shader.blender_addon.mending import MENDS
from diffusion_as_shader.blender_addon.preferences_backend import draw_upkeep
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.blender_addon.stepwise import Stepwise
from diffusion_as_shader.blender_addon.upkeep import upkeep
from diffusion_as_shader.shared import messages, png
from diffusion_as_shader.shared.backend_process import log_file
from diffusion_as_shader.shared.errors import GenerationError, UsageError
from diffusion_as_shader.shared.generation import raise_bad_end

from .panel_layout import Layout, drawn

ROOT = Path(blender_addon.__file__).parents[1]


class Broken(Stepwise):
    """Work with a mistake of ours in it."""

    def _run(self):
        yield
        raise ValueError("no such thing in /data/client x/shot.blend")


@pytest.fixture
def scene(saved_scene):
    return saved_scene


def test_every_button_is_an_operator_that_takes_its_options(scene):
    for mend in MENDS.values():
        group, name = mend.operator.split(".")
        known = getattr(getattr(bpy.ops, group), name).get_rna_type().properties
        assert set(mend.options) <= set(known.keys()), mend


def test_every_action_in_the_code_has_a_button():
    files = [file for room in ("shared", "blender_addon", "backend") for file in (ROOT / room).rglob("*.py")]
    code = "".join(file.read_text(encoding="utf-8") for file in files if file.name != "mending.py")
    assert not [action for action in MENDS if f'"{action}"' not in code]


def mended_by_its_button() -> None:
    """Press what the panel shows beside the error."""
    mend = MENDS[runner.action]
    assert mend.operator in drawn()
    group, name = mend.operator.split(".")
    assert getattr(getattr(bpy.ops, group), name)(**mend.options) == {"FINISHED"}
    assert runner.message == ""


def refused(words: str) -> None:
    with pytest.raises(RuntimeError, match=words):
        bpy.ops.das.generate()
    assert runner.failed


def test_a_size_is_rounded(scene):
    scene.das.width = 100
    refused("multiples of 16")
    mended_by_its_button()
    assert (scene.das.width, scene.das.height) == (96, 64)


def test_a_missing_preview_range_becomes_the_scenes(scene):
    scene.das.range = "preview"
    refused("no preview range")
    mended_by_its_button()
    assert scene.das.range == "scene"


def test_a_reversed_range_becomes_one_a_frame(scene):
    scene.das.range, scene.das.start, scene.das.end = "custom", 5, 2
    refused("reversed")
    mended_by_its_button()
    assert (scene.das.start, scene.das.end, scene.das.frames) == (5, 53, 49)


def test_the_size_follows_the_image(scene, tmp_path):
    import numpy as np

    (tmp_path / "look.png").write_bytes(png.encode(np.zeros((48, 80, 3), np.uint8)))
    scene.das.first_frame, scene.das.first_frame_path = "file", str(tmp_path / "look.png")
    bpy.ops.das.generate()
    while runner.step():
        pass
    assert runner.failed and runner.action == "use_image_size"
    mended_by_its_button()
    assert (scene.das.width, scene.das.height) == (80, 48)


def test_a_camera_is_found(scene):
    camera, scene.camera = scene.camera, None
    assert not bpy.ops.das.generate.poll() and "das.find_camera" in drawn(), "a greyed button says nothing that mends"
    bpy.ops.das.find_camera()
    assert scene.camera == camera


def test_an_error_of_our_own_has_a_report_without_private_names(scene, tmp_path, monkeypatch):
    monkeypatch.setenv("DAS_HOME", str(tmp_path / "home"))
    log_file().parent.mkdir(parents=True)
    log_file().write_text(f"old\n{Path.home()}/models is read\nthe last line\n")
    runner.start(Broken(lambda step: None))
    while runner.step():
        pass
    assert runner.failed and "das.copy_report" in drawn()
    text = report_of_job(runner)
    for wanted in ("ValueError", "Traceback", "in _run", bpy.app.version_string, "numpy", "the last line"):
        assert wanted in text
    for private in (str(Path.home()) + "/", str(tmp_path), "client x", str(ROOT)):
        assert private not in text, private


def test_an_error_of_preferences_has_its_button_too(scene, monkeypatch):
    monkeypatch.setenv("DAS_HOME", str(Path(bpy.app.tempdir) / "home"))
    upkeep.start(Broken(lambda step: None))
    while upkeep.step():
        pass
    layout = Layout()
    draw_upkeep(layout, 40)
    assert upkeep.failed and "das.copy_report" in layout.seen and "ValueError" in report_of_upkeep(upkeep)
    upkeep.tell_error(UsageError("Blender may not go online.", "Allow it.", "allow_online"))
    draw_upkeep(layout, 40)
    assert layout.seen[-1] == "das.show_network_preferences"
    upkeep.tell("")


def test_an_error_of_the_backend_brings_its_action_along():
    failed = messages.Failed(job="0" * 32, kind="usage", message="No weights.", fix="Fetch them.", action="pull_weights")
    with pytest.raises(GenerationError) as caught:
        raise_bad_end(failed)
    assert MENDS[caught.value.action].operator == "das.show_preferences"
    with pytest.raises(GenerationError) as caught:
        raise_bad_end(messages.Failed(job="0" * 32, kind="backend_lost", message="The backend has gone."))
    assert caught.value.action == "resume_take"


def test_the_report_goes_to_the_clipboard(scene):
    assert bpy.ops.das.copy_report() == {"FINISHED"}
