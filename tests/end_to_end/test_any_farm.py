"""What every farm relies on: command lines that can be run again after any end, and Deadline's own files of one."""

import json
import os
import shlex
import subprocess
import time
from pathlib import Path

import pytest

from diffusion_as_shader.shared.camera import read_camera_path

from .conftest import SMALL, das, das_command, partial_files

pytest.importorskip("bpy")
PNG_END = b"IEND\xaeB`\x82"
LONG = ("--size", "480x320", "--count", "17", "--first-frame", "workbench")


def kill_when(words, ready, timeout=150) -> None:
    """Run a command and kill it as soon as ``ready()``."""
    process = subprocess.Popen(das_command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + timeout
        while not ready():
            assert time.monotonic() < deadline and process.poll() is None, "it ended before it could be killed"
            time.sleep(0.005)
    finally:
        process.kill()
        process.wait()


def check_whole(take: Path) -> None:
    """Whatever stands under a final name is complete."""
    assert all(file.read_bytes().endswith(PNG_END) for file in take.rglob("*.png"))
    if (take / "take.json").exists():
        json.loads((take / "take.json").read_text(encoding="utf-8"))


def test_killed_in_the_capture_and_run_again(scene_file, tmp_path):
    take = tmp_path / "Aufnahme für Müller"
    words = ("track", scene_file, *SMALL, "-o", take, "--resume")
    kill_when(words, lambda: (take / "tracking" / "0002.png").exists())
    check_whole(take)
    assert das(*words[:-1]).code == 2, "without --resume nobody writes into a folder that holds something"
    run = das(*words)
    assert run.code == 0, run.err
    check_whole(take)
    assert (take / "signals.npz").exists() and len(list((take / "tracking").iterdir())) == 9 and not partial_files(take)


def test_killed_in_the_generation_and_run_again(scene_file, tmp_path):
    take = tmp_path / "Aufnahme für Müller"
    words = ("generate", scene_file, *LONG, "-o", take, "--resume", "--seed", "7")
    kill_when(words, lambda: (take / "frames" / "0003.png").exists())
    check_whole(take)
    assert not (take / "video.mp4").exists() and len(list((take / "frames").glob("*.png"))) < 17
    run = das(*words)
    assert run.code == 0, run.err
    check_whole(take)
    assert len(list((take / "frames").glob("*.png"))) == 17 and not partial_files(take)
    assert run.out.splitlines()[-2] == f"Saved: '{take / 'video.mp4'}'"
    others = das(*words[:-1], "8")
    assert others.code == 2 and "was begun with other settings: seed." in others.err


def test_a_named_camera(scene_file, tmp_path):
    wrong = das("track", scene_file, *SMALL, "-o", tmp_path / "a", "--camera", "Camara")
    assert wrong.code == 3 and "The file has no camera Camara. Did you mean Camera?" in wrong.err
    assert not (tmp_path / "a").exists()
    run = das("track", scene_file, *SMALL, "-o", tmp_path / "a", "--camera", "Camera", "--scene", "Scene")
    assert run.code == 0, run.err
    assert len(read_camera_path(tmp_path / "a" / "camera.json").world_to_camera) == 9
    on_a_take = das("generate", tmp_path / "a", "--camera", "Camera")
    assert on_a_take.code == 2 and "--camera is for a .blend file." in on_a_take.err


# Deadline


def info(file: Path) -> dict[str, str]:
    return dict(line.split("=", 1) for line in file.read_text(encoding="utf-16").splitlines())


def test_deadline_runs_one_command_line_a_seed(scene_file, tmp_path):
    out = tmp_path / "Nacht für Müller"
    words = ("--frames", "1:5", "--prompt", "a red cube, shiny")
    run = das("farm", "deadline", scene_file, "-o", out, "--seeds", "3-4", *SMALL, *words)
    assert run.code == 0, run.err
    job, plugin = out / "deadline" / "job.txt", out / "deadline" / "plugin.txt"
    assert run.out.splitlines()[-1] == f'deadlinecommand "{job}" "{plugin}"'
    assert info(job) | {"Plugin": "CommandLine", "Frames": "3-4", "ChunkSize": "1", "OutputDirectory0": str(out)} == info(job)
    line = info(plugin)["Arguments"].replace("<STARTFRAME>", "4").replace("<QUOTE>", '"')
    done = subprocess.run(
        [info(plugin)["Executable"], *shlex.split(line)], cwd=info(plugin)["StartupDirectory"],
        capture_output=True, encoding="utf-8", timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    record = json.loads((out / "seed-4" / "take.json").read_text(encoding="utf-8"))
    assert record["state"] == "done" and record["request"]["seed"] == 4 and record["request"]["prompt"] == "a red cube, shiny"
    assert f"Saved: '{out / 'seed-4' / 'video.mp4'}'{os.linesep}" in done.stdout


@pytest.mark.parametrize(
    "words, said",
    [
        (("--count", "50"), "50 frames is not possible"),
        (("--seeds", "4-"), "'4-' are no seeds"),
        (("--seed", "4"), "--seed has no place"),
        (("--nonsense", "4"), "nrecognized arguments"),
        (("--prompt", 'a "red" cube'), "Deadline cannot pass on"),
    ],
)
def test_deadline_is_given_no_job_that_would_fail(scene_file, tmp_path, words, said):
    run = das("farm", "deadline", scene_file, "-o", tmp_path / "out", *words)
    assert run.code == 2 and said in run.err, run.err
    assert not list(tmp_path.rglob("plugin.txt"))
