"""`das batch`: a night of small shots, whole, broken off, gone on with, and as it is said to programs."""

import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from .conftest import das, das_command, partial_files

pytest.importorskip("bpy")
SMALL = '[defaults]\nsize = "96x64"\nframes = 9\nrange = "1:9"\nfirst_frame = "workbench"\n'


def shot(scene: str, more: str = "") -> str:
    return f'[[shot]]\nscene = "{scene}"\n{more}'


@pytest.fixture
def folder(scenes, tmp_path) -> Path:
    """The scenes in a folder of this test's own."""
    return Path(shutil.copytree(scenes, tmp_path / "Nacht für Füchse"))


def write(folder: Path, *shots: str) -> Path:
    file = folder / "shots.toml"
    file.write_text(SMALL + "".join(shots), encoding="utf-8")
    return file


def states(out: Path) -> dict[str, str]:
    return {name: made["state"] for name, made in json.loads((out / "batch.json").read_text())["takes"].items()}


def made_at(out: Path, *names: str) -> list[float]:
    return [(out / name / "video.mp4").stat().st_mtime_ns for name in names]


def test_a_night_with_a_scene_that_fails(folder, tmp_path):
    """The rest goes on, the page says why, and --resume makes what is missing and changed only."""
    out = tmp_path / "out"
    file = write(
        folder, shot("moving cube.blend", "seeds = 2\nprompt = '<b>brass</b>'\n"), shot("no camera.blend"), shot("moving cube.blend", "name = 'last'\nfit = 'pad'\n")
    )
    run = das("batch", file, "-o", out, "--keep-going", "--json")
    assert run.code == 3, run.err
    cubes = ["moving cube-s0", "moving cube-s1"]
    assert states(out) == {**dict.fromkeys([*cubes, "last"], "done"), "no camera": "failed"}
    assert sorted(path.name for path in (out / "captures").iterdir() if (path / "signals.npz").exists()) == ["last", "moving cube-s0"]
    assert (run.result["done"], run.result["failed"], run.result["left"]) == ([*cubes, "last"], ["no camera"], 0)
    failed = next(line for line in run.lines if line["event"] == "take" and line["state"] == "failed")
    assert failed["failure"]["message"] == "The scene has no camera."
    page = (out / "index.html").read_text(encoding="utf-8")
    assert page.count("data:video/mp4;base64,") == 3 and "The scene has no camera." in page
    assert "&lt;b&gt;brass" in page and "<b>brass" not in page
    assert not partial_files(out)

    before = made_at(out, *cubes)
    shutil.copyfile(folder / "moving cube.blend", folder / "no camera.blend")
    write(folder, shot("moving cube.blend", "seeds = 2\nprompt = '<b>brass</b>'\n"), shot("no camera.blend"), shot("moving cube.blend", "name = 'last'\nfit = 'crop'\n"))
    run = das("batch", file, "-o", out, "--resume", "--json")
    assert run.code == 0, run.err
    assert {line["folder"] for line in run.lines if line["event"] == "take" and line["state"] == "done"} == {"no camera", "last"}
    assert made_at(out, *cubes) == before
    assert (out / "replaced" / "last-001" / "video.mp4").exists() and (out / "last" / "video.mp4").exists()


def test_a_changed_prompt_needs_no_new_capture(folder, tmp_path):
    out = tmp_path / "out"
    file = write(folder, shot("moving cube.blend", "prompt = 'brass'\n"))
    assert das("batch", file, "-o", out).code == 0
    captured = (out / "captures" / "moving cube" / "take.json").stat().st_mtime_ns
    write(folder, shot("moving cube.blend", "prompt = 'glass'\n"))
    run = das("batch", file, "-o", out, "--resume", "--json")
    assert run.code == 0 and not [line for line in run.lines if line["event"] == "capture"]
    assert (out / "captures" / "moving cube" / "take.json").stat().st_mtime_ns == captured
    assert json.loads((out / "moving cube" / "take.json").read_text())["request"]["prompt"] == "glass"


def test_dry_run_says_what_would_run_and_makes_nothing(folder, tmp_path):
    out = tmp_path / "out"
    file = write(folder, shot("moving cube.blend", "seeds = 3\n"))
    run = das("batch", file, "-o", out, "--dry-run", "--json")
    assert run.code == 0 and not out.exists()
    assert (run.result["to_make"], run.result["captures"], run.result["seconds"]) == (3, 1, None)
    planned = [line for line in run.lines if line["event"] == "planned"]
    assert [line["folder"] for line in planned] == ["moving cube-s0", "moving cube-s1", "moving cube-s2"]
    assert das("batch", file, "-o", out).code == 0
    again = das("batch", file, "-o", tmp_path / "other", "--dry-run", "--json")
    assert again.result["seconds"] is None  # nothing was made there
    shutil.copytree(out / "moving cube-s0", folder / "das" / "moving cube-001")
    shutil.copytree(out / "captures" / "moving cube-s0", folder / "das" / "moving cube-002")
    known = das("batch", file, "-o", tmp_path / "other", "--dry-run", "--json")
    assert 0 < known.result["seconds"] < 600
    assert das("batch", file, "-o", out, "--dry-run", "--resume", "--json").result["to_make"] == 0


def test_bad_input_ends_before_anything_begins(folder, tmp_path):
    out = tmp_path / "out"
    file = write(folder, shot("moving cube.blend", "promt = 'x'\n"), shot("gone.blend"))
    run = das("batch", file, "-o", out, "--json")
    assert run.code == 2 and not out.exists()
    messages = [line["message"] for line in run.lines if line["event"] == "error"]
    assert messages == [f"{file}:8: There is no field 'promt'.", f"{file}:10: There is no file {folder / 'gone.blend'}."]
    good = write(folder, shot("moving cube.blend"))
    for words, sentence in {
        ("-o", out, "--jobs", "0"): "--jobs 0 is not possible.",
        ("-o", folder): f"The folder {folder} is not empty, and holds no batch.",
        ("-o", good): f"{good} is no folder.",
        ("-o", out, "--blender", "1.0"): "There is no Blender 1.0 here",
    }.items():
        run = das("batch", good, *words)
        assert run.code == 2 and sentence in run.err, run.err
    assert not out.exists()


@pytest.mark.skipif(os.name != "posix", reason="sends signals to one process")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_broken_off_and_gone_on_with(folder, tmp_path, number):
    out = tmp_path / "out"
    file = write(folder, *(shot("moving cube.blend", f"name = 'take {one}'\nfit = '{fit}'\n") for one, fit in enumerate(("crop", "pad"))))
    process = subprocess.Popen(das_command("batch", file, "-o", out), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        wait_for(lambda: (out / "captures" / "take 0" / "take.json").exists(), process)
        process.send_signal(number)
        told, err = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == (130 if number == signal.SIGINT else -number), err
    if number == signal.SIGINT:
        assert "--resume" in err and "Traceback" not in err and not partial_files(out)
        assert "2 takes: " in (out / "index.html").read_text(encoding="utf-8")
    run = das("batch", file, "-o", out)
    assert run.code == 2 and "Go on with it by --resume" in run.err
    run = das("batch", file, "-o", out, "--resume")
    assert run.code == 0, run.err
    assert states(out) == {"take 0": "done", "take 1": "done"}
    assert not partial_files(out)


def wait_for(happened, process, timeout: float = 240) -> None:
    deadline = time.monotonic() + timeout
    while not happened():
        assert time.monotonic() < deadline and process.poll() is None, "it ended before it could be broken off"
        time.sleep(0.005)
