"""`das check`: exit codes, what it prints, JSON, and an end by Ctrl-C."""

import json
import signal
import subprocess
import sys
import time

import bpy
import numpy as np
import pytest

from diffusion_as_shader.blender_addon import properties
from diffusion_as_shader.blender_addon.commands import check
from diffusion_as_shader.shared import cli, png
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.report import JsonReporter, Reporter

from .scenes import moving_cube
from .test_commands import Lines, Silent

SMALL = "--size 96x64 --count 17 --frames 1:12".split()


class Strict(Lines):
    """Refuses NaN and Infinity, which only Python's JSON has."""

    def write(self, text):
        self.append(json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is no JSON")))


@pytest.fixture
def blend(tmp_path):
    """A saved scene that has no finding: the small cube before a wall, seen by a camera as wide as the window."""
    scene = moving_cube()
    bpy.data.objects["Cube"].rotation_euler = (0.5, 0, 0.6)  # else Workbench shades it as it does the wall
    scene.render.resolution_x, scene.render.resolution_y = 960, 640
    bpy.ops.mesh.primitive_plane_add(size=60, location=(0, 8, 0), rotation=(1.5708, 0, 0))
    return save(tmp_path)


def save(folder):
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "shot.blend"))
    return folder / "shot.blend"


def run(reporter, *words):
    return check.run(cli.parser().parse_args(["check", *(str(word) for word in words)]), reporter)


def as_json(*words):
    told = Strict()
    return run(JsonReporter(told, Silent()), *words), told


def as_text(*words):
    out = Silent()
    return run(Reporter(out, Silent()), *words), "".join(out)


def test_a_good_shot_ends_with_0(blend):
    code, text = as_text(blend, *SMALL)
    assert code == 0 and text.rstrip().endswith("The shot is ready.")
    assert "tracked at the start" in text and "100 %" in text and "--with-first-frame" in text


def test_a_warning_blocks_only_when_strict(blend):
    bpy.context.scene.camera.data.clip_end = 10
    save(blend.parent)
    code, text = as_text(blend, *SMALL)
    assert code == 0 and "warning  The camera's clip end of 10 cuts" in text and "Raise the camera's clip end." in text
    assert as_text(blend, *SMALL, "--strict")[0] == 3


def test_json_is_for_machines(blend):
    bpy.context.scene.camera.data.clip_end = 10
    save(blend.parent)
    code, told = as_json(blend, *SMALL)
    assert code == 0 and {line["phase"] for line in told if line["event"] == "progress"} == {"capture", "check"}
    finding, note = [line for line in told if line["event"] == "finding"]
    assert (note["severity"], note["kind"]) == ("info", "step")
    assert (finding["kind"], finding["severity"], finding["operator"]) == ("clip_far", "warning", "das.widen_clipping")
    result = told[-1]
    assert result["ok"] and result["findings"][0]["options"]["clip_end"] == pytest.approx(14 * 1.1, rel=0.01)
    assert len(result["measurements"]["frames"]) == 17 and 0 < result["measurements"]["frames"][0]["tracked"] < 1


@pytest.mark.parametrize(
    "spoil, sentence",
    [
        (lambda scene: setattr(scene, "camera", None), "The scene has no camera."),
        (lambda scene: setattr(scene.camera.data, "type", "PANO"), "panoramic; only perspective cameras are supported."),
        (lambda scene: [setattr(thing, "hide_render", True) for thing in scene.objects if thing.type == "MESH"], "no visible geometry"),
        (lambda scene: setattr(scene.view_layers[0], "use", False), "No view layer is used for rendering."),
        (lambda scene: scene.timeline_markers.new("m", frame=5).__setattr__("camera", other_camera()), "The camera cuts"),
    ],
    ids=["no camera", "panoramic", "nothing visible", "no layer", "a cut"],
)
def test_unusable_scenes_block_with_their_sentence(blend, spoil, sentence):
    scene = bpy.context.scene
    scene.timeline_markers.new("first", frame=1).camera = scene.camera if "cuts" in sentence else None
    spoil(scene)
    code, text = as_text(save(blend.parent), *SMALL)
    assert code == 3 and sentence in text and "BLOCKS" in text and "cannot work yet" in text


def other_camera():
    bpy.ops.object.camera_add(location=(1.5, -6, 0), rotation=(1.5708, 0, 0))
    return bpy.context.object


def test_the_file_s_own_empty_range_blocks(blend):
    bpy.context.scene.frame_end = 1
    code, text = as_text(save(blend.parent), "--size", "96x64", "--count", "9")
    assert code == 3 and "empty or reversed" in text


def test_a_preview_range_that_is_not_set_blocks(blend):
    if not hasattr(bpy.types.Scene, "das"):
        properties.register()
    bpy.context.scene.das.range = "preview"
    code, text = as_text(save(blend.parent), *SMALL[:4])
    assert code == 3 and "no preview range" in text


def test_a_range_outside_of_the_file_blocks(blend):
    code, text = as_text(blend, "--size", "96x64", "--count", "9", "--frames", "101:109")
    assert code == 3 and "Nothing moves from frame 101 to 109, which lies outside of the scene's frames 1:12." in text


def test_wrong_options_and_paths_are_usage_errors(blend, tmp_path):
    for words, sentence in (
        ([tmp_path / "none.blend"], "no file"),
        ([tmp_path], "is a folder"),
        ([blend, "--frames", "9:1"], "empty or reversed"),
        ([blend, "--size", "100x50"], "multiples of 16"),
        ([blend, "--first-frame", "none.png"], "no image"),
    ):
        with pytest.raises(UsageError, match=sentence):
            as_text(*words)


def test_not_a_scene(tmp_path):
    (tmp_path / "shot.blend").write_text("no scene")
    code, text = as_text(tmp_path / "shot.blend", *SMALL)
    assert code == 3 and "cannot be opened" in text


def test_first_frame_is_compared_when_asked(blend, tmp_path):
    code, told = as_json(blend, *SMALL, "--with-first-frame", "--first-frame", "workbench")
    assert code == 0 and told[-1]["measurements"]["alignment"]["match"] > 0.5
    (tmp_path / "other.png").write_bytes(png.encode(np.zeros((32, 48, 3), np.uint8)))
    code, text = as_text(blend, *SMALL, "--first-frame", tmp_path / "other.png")
    assert code == 3 and "is 48x32, the generation is 96x64" in text


@pytest.mark.parametrize("name", ["fox_run", "robot_dance"])
def test_real_scenes_are_not_blocked(shared_data, name):
    code, told = as_json(shared_data / f"{name}.blend", "--size", "240x160")
    assert code == 0 and told[-1]["ok"] and told[-1]["measurements"]["frames"][0]["tracked"] > 0.5


def test_ctrl_c_ends_it(shared_data):
    command = [sys.executable, "-m", "diffusion_as_shader", "check", shared_data / "fox_run.blend", "--count", "1025", "--json"]
    checking = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        for line in checking.stdout:
            if json.loads(line).get("phase") == "check":
                break
        began = time.monotonic()
        checking.send_signal(signal.SIGINT)
        _, said = checking.communicate(timeout=60)
    finally:
        checking.kill()
    assert checking.returncode == 130 and said == "das: The check was cancelled.\n" and time.monotonic() - began < 20
