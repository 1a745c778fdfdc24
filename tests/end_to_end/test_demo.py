"""`das demo`: the take, the video, the contact sheet and the .blend with the filled Sequencer."""

import hashlib
import json
import os
import shutil
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

from diffusion_as_shader.blender_addon.images import BlenderImages  # noqa: E402
from diffusion_as_shader.blender_addon.sequencer import find_strip, strip_end, strip_start  # noqa: E402

from .conftest import SMALL, das, partial_files  # noqa: E402


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> tuple[Path, dict]:
    """A demo's folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "Vorführung 1"
    run = das("demo", *SMALL, "-o", folder, "--json")
    assert run.code == 0, run.err
    return folder, run.result


def test_it_says_where_everything_is(shown):
    folder, result = shown
    expected = {"take": "take", "video": "take/video.mp4", "contact_sheet": "contact-sheet.png", "blend": "example.blend"}
    for name, place in expected.items():
        assert Path(result[name]) == folder.resolve() / place and Path(result[name]).exists()
    assert sorted(file.name for file in folder.iterdir()) == ["contact-sheet.png", "example.blend", "take"]
    assert not partial_files(folder)
    assert json.loads((folder / "take" / "take.json").read_text())["state"] == "done"


def test_the_contact_sheet_holds_pictures(shown):
    sheet = BlenderImages().read(shown[0] / "contact-sheet.png")
    assert sheet.shape[1] > 4 * sheet.shape[0]
    assert sheet.std() > 20


def test_the_strip_lasts_as_long_as_the_range_and_moves_with_the_folder(shown, tmp_path):
    moved = tmp_path / "moved"
    shutil.copytree(shown[0], moved)
    bpy.ops.wm.open_mainfile(filepath=str(moved / "example.blend"), load_ui=False)
    scene = bpy.context.scene
    strip = find_strip(scene, moved / "take" / "frames")
    assert strip is not None and strip.directory.startswith("//")
    assert (strip_start(strip), strip_end(strip)) == (scene.frame_start, scene.frame_end + 1)
    assert len(strip.elements) == scene.frame_end - scene.frame_start + 1
    bpy.ops.wm.read_factory_settings(use_empty=True)


def test_a_file_with_a_filled_sequencer_is_captured_again(shown, tmp_path):
    run = das("track", shown[0] / "example.blend", *SMALL, "-o", tmp_path / "second", "--json")
    assert run.code == 0, run.err
    hashes = [json.loads((take / "take.json").read_text())["hashes"]["tracking"] for take in (shown[0] / "take", tmp_path / "second")]
    assert hashes[0] == hashes[1]


def test_a_user_s_scene_stays_as_it_is(scene_file, tmp_path, monkeypatch):
    own = tmp_path / "Meine Szene"
    own.mkdir()
    shot = own / "Möwe 7.blend"
    shutil.copy(scene_file, shot)
    before = hashlib.sha256(shot.read_bytes()).digest()
    monkeypatch.chdir(tmp_path)
    run = das("demo", "--scene", shot, *SMALL, "--json")
    assert run.code == 0, run.err
    assert hashlib.sha256(shot.read_bytes()).digest() == before
    assert [file.name for file in own.iterdir()] == [shot.name]
    version = ".".join(map(str, bpy.app.version[:2]))
    assert Path(run.result["blend"]) == tmp_path.resolve() / "das-demo" / f"{version}-001" / "Möwe 7.blend"


def test_a_folder_that_holds_something_is_refused(scene_file, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    run = das("demo", "--scene", scene_file, *SMALL, "-o", tmp_path)
    assert run.code == 2 and "not empty" in run.err
    assert os.listdir(tmp_path) == ["mine.txt"]
