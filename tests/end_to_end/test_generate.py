"""`das generate` and `das track`: from a scene to frames and a video, with and without Blender."""

import json
import os
import shutil
import subprocess

import numpy as np
import pytest

from diffusion_as_shader.shared import home
from diffusion_as_shader.shared.psnr import psnr
from diffusion_as_shader.shared.timeline import sample_frames

from .conftest import SMALL, Run, das, partial_files

# Runs a command in the backend's Python as on a machine that has no Blender.
WITHOUT_BPY = """
import sys
sys.modules["bpy"] = None
from diffusion_as_shader.shared import cli
cli.rooms_here = lambda: ["backend"]
sys.exit(cli.main(sys.argv[1:]))
"""


@pytest.fixture
def images():
    from diffusion_as_shader.blender_addon.images import BlenderImages

    return BlenderImages()


@pytest.fixture
def backend_python() -> str:
    known = home.environments("backend")
    if not known:
        pytest.skip("environments.json names no backend environment")
    return known[0].python


def finished(take):
    """The record of a take that is whole."""
    record = json.loads((take / "take.json").read_text(encoding="utf-8"))
    assert record["state"] == "done"
    assert sorted(file.name for file in (take / "frames").iterdir()) == [f"{number:04d}.png" for number in range(1, 10)]
    assert sorted(file.name for file in (take / "tracking").iterdir()) == [f"{number:04d}.png" for number in range(1, 10)]
    assert (take / "video.mp4").stat().st_size > 500
    assert not partial_files(take)
    return record


def test_a_scene_becomes_a_video(scene_file, tmp_path, images):
    take = tmp_path / "Aufnahme für Müller" / "erste Fassung"
    run = das("generate", scene_file, *SMALL, "--frames", "1:5", "--prompt", "a red cube", "--seed", "3", "-o", take, "--json")
    assert run.code == 0, run.err
    record = finished(take)
    assert record["request"]["prompt"] == "a red cube" and record["request"]["seed"] == 3
    assert run.result["video"] == str((take / "video.mp4").resolve())
    path = json.loads((take / "camera.json").read_text())
    assert (path["width"], path["height"]) == (96, 64)
    assert np.allclose([entry["frame"] for entry in path["frames"]], sample_frames(1, 5, 9))
    first = images.read(take / "first_frame.png")
    assert psnr(images.read(take / "frames" / "0001.png"), first) > 40
    last = images.read(take / "frames" / "0009.png")
    moved = np.argmax((np.abs(last.astype(int) - last[0, 0]).max(axis=-1) > 20).any(axis=0))
    began = np.argmax((np.abs(first.astype(int) - first[0, 0]).max(axis=-1) > 20).any(axis=0))
    assert moved > began + 3, "the cube moves to the right"


def test_a_second_take_of_the_same_file_beside_it(scene_file, tmp_path):
    shot = tmp_path / "shot.blend"
    shutil.copy(scene_file, shot)
    before = shot.read_bytes()
    for _ in range(2):
        run = das("generate", shot, *SMALL, "--json")
        assert run.code == 0, run.err
    records = [finished(tmp_path / "das" / f"shot-{number:03d}") for number in (1, 2)]
    assert records[0]["hashes"] == records[1]["hashes"]
    assert records[0]["job"] != records[1]["job"]
    assert shot.read_bytes() == before


def test_a_take_is_generated_without_blender(scene_file, tmp_path, backend_python):
    take = tmp_path / "take ohne Blender"
    assert das("track", scene_file, *SMALL, "-o", take).code == 0
    assert json.loads((take / "take.json").read_text())["state"] == "prepared"
    words = [backend_python, "-c", WITHOUT_BPY, "generate", str(take), "--json"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=120, env=dict(os.environ))
    run = Run(done.returncode, done.stdout, done.stderr)
    assert run.code == 0, run.err
    finished(take)


def test_a_tracking_folder_and_an_image_are_enough(scene_file, tmp_path, backend_python):
    take, made = tmp_path / "take", tmp_path / "made"
    assert das("track", scene_file, *SMALL, "-o", take).code == 0
    words = ("--tracking", take / "tracking", "--first-frame", take / "first_frame.png", "-o", made)
    run = das("generate", *words, "--json")
    assert run.code == 0, run.err
    finished(made)


def test_the_best_of_two_seeds_of_a_scene(scene_file, tmp_path):
    take, other = tmp_path / "shot", tmp_path / "shot-seed-6"
    run = das("generate", scene_file, *SMALL, "--seed", "5", "--best-of", "2", "-o", take, "--json")
    assert run.code == 0, run.err
    told = run.result
    assert [row["seed"] for row in told["best_of"]] == [5, 6] and told["take"] == str(take.resolve())
    records = [finished(each) for each in (take, other)]
    assert json.loads((take / "objects.json").read_text(encoding="utf-8")) == {"1": "Cube"}
    for record in records:
        [cube] = record["score"]["objects"]
        assert cube["name"] == "Cube" and cube["motion"] > 3 and cube["median_error"] < 3
        assert record["score"]["value"] == told["score"]["value"] > 0.3, "the projection makes the same with each seed"
    assert told["why"] == "shot and shot-seed-6 have the same score."
    assert (take / "favourite").exists() and not (other / "favourite").exists()
    assert os.stat(take / "signals.npz").st_ino == os.stat(other / "signals.npz").st_ino or os.name == "nt"
