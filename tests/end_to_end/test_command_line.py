"""The smaller commands, and what a program that calls `das` can rely on."""

import json
import os

import numpy as np
import pytest

from diffusion_as_shader.shared.camera import read_camera_path

from .conftest import SMALL, das

pytest.importorskip("bpy")


@pytest.fixture(scope="module")
def tracked(scenes, tmp_path_factory):
    """A take of the moving cube and the run that made it."""
    take = tmp_path_factory.mktemp("tracked") / "take"
    return take, das("track", scenes / "moving cube.blend", *SMALL, "-o", take, "--json")


def test_json_is_all_that_stands_on_standard_output(tracked):
    take, run = tracked
    assert run.code == 0, run.err
    events = [line["event"] for line in run.lines]
    assert "progress" in events and events[-1] == "result"
    phases = [line["phase"] for line in run.lines if line["event"] == "progress"]
    assert phases.index("capture") < phases.index("tracking")
    assert run.result["take"] == str(take.resolve())


def test_for_people_progress_is_on_standard_error_and_the_take_on_standard_output(scene_file, tmp_path):
    take = tmp_path / "take"
    run = das("track", scene_file, *SMALL, "-o", take)
    assert run.code == 0, run.err
    assert "capture" in run.err
    assert str(take) in run.out and "capture" not in run.out


def test_the_camera_alone_is_the_take_s_camera(tracked, scene_file, tmp_path):
    file = tmp_path / "Kamera.json"
    run = das("camera", scene_file, "--size", "96x64", "--count", "9", "-o", file)
    assert run.code == 0, run.err
    alone, of_take = read_camera_path(file), read_camera_path(tracked[0] / "camera.json")
    assert np.allclose(alone.K, of_take.K) and np.allclose(alone.world_to_camera, of_take.world_to_camera)
    assert alone.fps == of_take.fps


def test_encode_runs_in_the_other_room(tracked):
    take, _ = tracked
    run = das("encode", take, "--json")
    assert run.code == 0, run.err
    assert [file for file in take.iterdir() if file.suffix == ".mkv"]


def test_doctor_names_both_rooms():
    run = das("doctor")
    assert "Blender" in run.out and "backend" in run.out.lower()
    assert run.code in (0, 4), run.err


@pytest.mark.parametrize("words", [("paint",), ("track", "--size"), ("benchmark", "everything"), ()])
def test_wrong_words_are_code_2(words):
    run = das(*words)
    assert run.code == 2
    assert run.err.startswith("das: ") and "--help" in run.err and "Traceback" not in run.err


def test_without_egl_the_numpy_route_is_taken_openly(scene_file, tracked, tmp_path):
    if os.name != "posix":
        pytest.skip("EGL is how Linux draws without a window")
    take = tmp_path / "take"
    image = tracked[0] / "first_frame.png"
    words = ("--size", "96x64", "--count", "9", "--first-frame", image, "-o", take)
    run = das("track", scene_file, *words, __EGL_VENDOR_LIBRARY_FILENAMES="/nonexistent")
    assert run.code == 0, run.err
    assert any("numpy" in note for note in json.loads((take / "take.json").read_text())["notes"])
    assert "numpy" in run.err
