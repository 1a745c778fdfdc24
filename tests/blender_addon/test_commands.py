"""`das` inside Blender: through its own --command, and what only this room's commands can get wrong."""

import argparse
import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader import blender_addon
from diffusion_as_shader.blender_addon import command_line, properties
from diffusion_as_shader.blender_addon.commands import camera, doctor, scene_file, track
from diffusion_as_shader.shared import cli
from diffusion_as_shader.shared.camera import read_camera_path
from diffusion_as_shader.shared.errors import SceneError, UsageError
from diffusion_as_shader.shared.report import JsonReporter

from .scenes import REQUEST, moving_cube

SMALL = "--size 96x64 --count 9 --first-frame workbench".split()


class Lines(list):
    """Standard output as a list of JSON objects."""

    def write(self, text):
        self.append(json.loads(text))

    def flush(self):
        pass

    def isatty(self):
        return False


class Silent(Lines):
    def write(self, text):
        self.append(text)


@pytest.fixture
def told():
    return Lines()


@pytest.fixture
def blend(tmp_path):
    """A saved scene, which is not the open one."""
    moving_cube()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"), copy=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return tmp_path / "shot.blend"


def run(command, told, *words):
    return command.run(cli.parser().parse_args([str(word) for word in words]), JsonReporter(told, Silent()))


def test_track_tells_what_it_made(blend, told):
    assert run(track, told, "track", blend, *SMALL) == 0
    result = told[-1]
    assert result["event"] == "result" and result["take"] == str(blend.parent / "das" / "shot-001")
    assert {line["phase"] for line in told if line["event"] == "progress"} >= {"capture", "tracking"}
    assert json.loads((blend.parent / "das" / "shot-001" / "take.json").read_text())["scene"] == str(blend)


def test_the_open_file_is_taken_where_none_is_named(blend, told):
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    assert run(camera, told, "camera", "--size", "96x64", "--count", "9", "--frames", "2:8") == 0
    path = read_camera_path(blend.parent / "camera.json")
    assert [entry.frame for entry in path.frames] == list(np.linspace(2, 8, 9))
    assert path.fps == pytest.approx(9 * 24 / 7)


def test_no_open_file_is_a_scene_error(told):
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with pytest.raises(SceneError, match="No .blend file is open"):
        run(track, told, "track")


def test_settings_of_the_file_are_the_defaults_of_the_command(tmp_path):
    if not hasattr(bpy.types.Scene, "das"):
        properties.register()
    properties.apply_request(moving_cube(), REQUEST)
    bpy.context.scene.das.prompt = "a red cube"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    args = cli.parser().parse_args(["track", str(tmp_path / "shot.blend"), "--seed", "4"])
    request = scene_file.request_from(args, scene_file.open_scene(args, args.file))
    assert (request.prompt, request.width, request.frames, request.seed) == ("a red cube", 96, 9, 4)


def test_scripts_in_the_file_run_only_when_asked(tmp_path):
    moving_cube()
    text = bpy.data.texts.new("run.py")
    text.write("import bpy\nbpy.app.driver_namespace['das_test_ran'] = True\n")
    text.use_module = True
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    for words, ran in (([], False), (["--scripts"], True)):
        bpy.app.driver_namespace.pop("das_test_ran", None)
        args = cli.parser().parse_args(["track", str(tmp_path / "shot.blend"), *words])
        scene_file.open_scene(args, args.file)
        assert bpy.app.driver_namespace.get("das_test_ran", False) is ran


def test_a_camera_file_that_cannot_be_written(blend, told):
    (blend.parent / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be written"):
        run(camera, told, "camera", blend, "--size", "96x64", "--count", "9", "-o", blend.parent / "file" / "camera.json")


def test_doctor_says_how_it_draws(told):
    assert run(doctor, told, "doctor", "--here") == 0
    findings = {finding["name"]: finding for finding in told[-1]["findings"]}
    assert set(findings) == {"version", "drawing"} and all(finding["ok"] for finding in findings.values())
    assert bpy.app.version_string in findings["version"]["value"]


def test_doctor_says_numpy_where_there_is_no_egl(tmp_path):
    if sys.platform != "linux":
        pytest.skip("EGL is how Linux draws without a window")
    import os

    words = [sys.executable, "-m", "diffusion_as_shader", "doctor", "--here", "--json"]
    variables = {**os.environ, "__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent"}
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=variables)
    findings = {finding["name"]: finding["value"] for finding in json.loads(done.stdout)["findings"]}
    assert done.returncode == 0 and "numpy" in findings["drawing"]


def test_blender_s_own_command_line_has_das():
    """`blender --command das` is dispatched by Blender's binary alone; here it is registered, and its function called."""
    if hasattr(bpy.types.Scene, "das"):
        properties.unregister()
    blender_addon.register()
    blender_addon.unregister()
    assert command_line.main is cli.main
    before = signal.signal(signal.SIGINT, signal.SIG_DFL)
    try:
        assert cli.main(["track", "--count", "no number"]) == 2
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler, "else the first Ctrl-C is lost"
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_blender_than_this_one_is_asked_for():
    args = argparse.Namespace(command="track", blender="2.79")
    assert cli._other_blender_wanted(args, "blender")
    args.blender = ".".join(str(number) for number in bpy.app.version[:2])
    assert not cli._other_blender_wanted(args, "blender")


def test_python_drivers_do_not_keep_the_process_from_ending(blend, tmp_path):
    """They did in Blender 4.5, for ever."""
    bpy.ops.wm.open_mainfile(filepath=str(blend))
    bpy.context.scene.camera.driver_add("location", 0).driver.expression = "noise.random()"
    bpy.ops.wm.save_as_mainfile(filepath=str(blend))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    command = [sys.executable, "-m", "diffusion_as_shader", "camera", blend, *SMALL, "-o", tmp_path / "camera.json", "--json"]
    ended = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=60)
    assert ended.returncode == 0
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert {event["event"] for event in events} == {"progress", "note", "result"}
    assert any("was not run" in event.get("message", "") for event in events)
    assert ended.stderr == ""


def test_ctrl_c_while_blender_starts(blend):
    """Blender's module lost it, or broke: Ctrl-C comes from within its own start."""
    script = (
        "import signal, sys, builtins\n"
        "from diffusion_as_shader.shared import cli\n"
        "real = builtins.__import__\n"
        "def importing(name, *rest):\n"
        "    if name == 'addon_utils' and name not in sys.modules: signal.raise_signal(signal.SIGINT)\n"
        "    return real(name, *rest)\n"
        "builtins.__import__ = importing\n"
        "cli.console()"
    )
    ended = subprocess.run(
        [sys.executable, "-c", script, "track", str(blend), *SMALL], capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 130 and ended.stderr == "das: Cancelled.\n"


def test_the_process_ends_by_itself_whatever_blender_still_holds(blend, tmp_path):
    """Blender 4.5's module waited for ever where something of it was still referred to; its folder is removed too."""
    script = (
        "import builtins, sys, bpy\n"
        "builtins.kept = [bpy, bpy.context, bpy.app.tempdir]\n"
        "from diffusion_as_shader.shared import cli\n"
        "print('folder', bpy.app.tempdir)\n"
        "cli.console()"
    )
    command = [sys.executable, "-c", script, "track", str(blend), "-o", str(tmp_path / "take"), *SMALL]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=60)
    folder = next(line[7:] for line in ended.stdout.splitlines() if line.startswith("folder "))
    assert ended.returncode == 0 and "blender_" in folder and not os.path.exists(folder)
    assert "Not freed memory" not in ended.stdout + ended.stderr


def test_folder_is_no_scene(tmp_path, told):
    with pytest.raises(UsageError, match="is a folder"):
        run(track, told, "track", tmp_path, *SMALL)
