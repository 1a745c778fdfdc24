"""`das dataset blender` as a user runs it: clips, failures, going on, and Ctrl-C, with lists that are never out of step."""

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from diffusion_as_shader.shared.dataset import Dataset, check_lists

from .clip_scene import build
from .conftest import das, das_command, partial_files

pytest.importorskip("bpy")
SMALL = ("--count", "9", "--size", "96x64", "--points", "12x8", "--render", "workbench")


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    file = tmp_path_factory.mktemp("Clips für später") / "drei_körper.blend"
    build(file)
    return file


def test_a_scene_that_fails_takes_no_clip_of_another_with_it(scene, tmp_path):
    broken = tmp_path / "broken.blend"
    broken.write_text("This is a letter.\n")
    root = tmp_path / "Über Clips"
    words = ("dataset", "blender", scene, broken, "-o", root, *SMALL, "--vary", "camera,range,colours", "--jobs", "2", "--json")
    run = das(*words, "--clips", "4")
    assert run.code == 5, run.err
    assert run.result["clips"] == run.result["made"] == 2 and len(run.result["failed"]) == 2
    dataset = Dataset.open(root)
    assert check_lists(root) == [] and len(dataset.clips) == 2
    assert all(clip.prompt == "drei körper" and clip.tracks.is_file() for clip in dataset.clips)
    failures = [json.loads(line) for line in (root / "failures.jsonl").read_text(encoding="utf-8").splitlines()]
    assert sorted(entry["clip"] for entry in failures) == sorted(run.result["failed"])
    assert all("broken.blend" in entry["message"] for entry in failures)
    assert not partial_files(root) and not (root / "making").exists()

    before = [(record.name, record.hashes) for record in dataset.records]
    again = das(*words, "--clips", "4")
    assert again.code == 5 and again.result["made"] == 0 and again.result["clips"] == 2
    assert [(record.name, record.hashes) for record in Dataset.open(root).records] == before, "what is there is not made again"


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to one process")
def test_ctrl_c_drops_what_is_made_and_the_same_command_goes_on(scene, tmp_path):
    root = tmp_path / "clips"
    words = ("dataset", "blender", scene, "-o", root, *SMALL, "--vary", "range", "--jobs", "1")
    process = subprocess.Popen(das_command(*words, "--clips", "40"), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + 180
        while not (root / "prompt.txt").exists():
            assert time.monotonic() < deadline and process.poll() is None, "it ended before it could be cancelled"
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=90)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130 and "Traceback" not in err, err
    count = len(Dataset.open(root).clips)
    assert 1 <= count < 40 and check_lists(root) == []
    assert not partial_files(root) and not (root / "making").exists() and not (root / ".writing").exists()
    run = das(*words, "--clips", str(count + 1), "--json")
    assert run.code == 0 and (run.result["made"], run.result["clips"]) == (1, count + 1), run.err
