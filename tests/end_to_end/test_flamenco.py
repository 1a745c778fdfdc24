"""Flamenco's job type: compiled by node with a stand-in of the author API, and its very commands run."""

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from diffusion_as_shader.shared.farm.flamenco import SCRIPT

from .conftest import das, partial_files

bpy = pytest.importorskip("bpy")
STAND_IN = Path(__file__).with_name("flamenco_stand_in.js")
# How Flamenco's worker recognises a picture in the output of blender-render.
SAVED = re.compile(r"^Saved: '(.*)'$", re.MULTILINE)
NODE = shutil.which("node")
needs_node = pytest.mark.skipif(NODE is None, reason="needs node, which runs the job type script")
# The schema AvailableJobSetting of Flamenco's API.
KEYS = {"key", "type", "subtype", "choices", "propargs", "description", "label", "default", "eval", "evalInfo", "visible", "required", "editable"}
TYPES = {"string": str, "int32": int, "float": (int, float), "bool": bool}
SUBTYPES = {"file_path", "dir_path", "file_name", "hashed_file_path"}


def compiled(settings: dict | None = None) -> SimpleNamespace:
    """What the Manager makes of the script, and of a job if it has settings."""
    job = json.dumps({"name": "shot", "settings": settings} if settings else {"name": "shot"})
    done = subprocess.run([NODE, STAND_IN, SCRIPT], input=job, capture_output=True, encoding="utf-8", timeout=60)
    if done.returncode:
        raise ValueError(done.stderr)
    return SimpleNamespace(**json.loads(done.stdout))


def settings(**given) -> dict:
    """A job's settings: the defaults, as the add-on submits them, and these."""
    defaults = {one["key"]: one["default"] for one in compiled().job_type["settings"] if "default" in one}
    fixed = {"frames": "1:9", "prompt": "", "scene": "Scene", "blendfile": "/shots/a b.blend", "render_output_path": "/out/{timestamp}"}
    return {**defaults, **fixed, **given}


@needs_node
def test_settings_are_such_as_flamenco_knows():
    job_type = compiled().job_type
    assert job_type["label"] == "Diffusion as Shader" and job_type["description"]
    for one in job_type["settings"]:
        assert one.keys() <= KEYS and {"key", "type", "description"} <= one.keys(), one["key"]
        assert isinstance(one.get("default", TYPES[one["type"]]()) if one["type"] != "float" else 0.0, TYPES[one["type"]])
        assert one.get("subtype", "file_path") in SUBTYPES and one.get("visible", "visible") in {"visible", "hidden", "submission", "web"}
        assert "choices" not in one or (one["type"] == "string" and one["default"] in one["choices"])
        assert "evalInfo" not in one or ("eval" in one and one["evalInfo"].keys() == {"showLinkButton", "description"})
    shown = [one["key"] for one in job_type["settings"] if one.get("visible", "visible") in ("visible", "submission")]
    assert {"frames", "count", "camera", "prompt", "engine", "seeds", "steps", "quality", "render_output_root"} <= set(shown)


@needs_node
@pytest.mark.parametrize("has_addon", [False, True])
def test_expressions_are_evaluated_in_blender(has_addon):
    from diffusion_as_shader.blender_addon import properties

    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 3, 27
    expected = {"frames": "3:27", "count": 49, "prompt": "", "steps": 50, "quality": "balanced", "scene": "Scene"}
    if has_addon:
        properties.register()
        scene.das.range, scene.das.start, scene.das.end = "custom", -2, 14
        scene.das.quality = "draft"  # brings steps of its own
        scene.das.prompt, scene.das.frames, scene.das.steps = "ein Fuchs", 17, 8
        expected |= {"frames": "-2:14", "count": 17, "prompt": "ein Fuchs", "steps": 8, "quality": "draft"}
    try:
        names = {
            "bpy": bpy, "C": bpy.context, "jobname": "shot", "Path": Path, "abspath": lambda path: Path(path),
            "settings": SimpleNamespace(render_output_root="/renders"),
        }  # fmt: skip
        evals = {one["key"]: one["eval"] for one in compiled().job_type["settings"] if "eval" in one}
        found = {key: eval(expression, {}, names) for key, expression in evals.items()}
    finally:
        if has_addon:
            properties.unregister()
    assert found == {**expected, "render_output_path": str(Path("/renders/shot/{timestamp}"))}


@needs_node
def test_tasks_depend_on_each_other():
    job = compiled(settings(seeds="1, 5-6, 5"))
    assert [(task["name"], task["type"], task["dependencies"]) for task in job.tasks] == [
        ("capture", "blender", []),
        ("generate seed 1", "misc", ["capture"]),
        ("encode seed 1", "misc", ["generate seed 1"]),
        ("generate seed 5", "misc", ["capture"]),
        ("encode seed 5", "misc", ["generate seed 5"]),
        ("generate seed 6", "misc", ["capture"]),
        ("encode seed 6", "misc", ["generate seed 6"]),
    ]
    assert job.settings["render_output_path"] == "/out/2024-05-06_070809"
    few = compiled(settings(lossless="none", generation_task_type="gpu"))
    assert [(task["name"], task["type"]) for task in few.tasks] == [("capture", "blender"), ("generate seed 0", "gpu")]


@needs_node
def test_commands_are_these():
    given = {"camera": "Nähe", "first_frame": "workbench", "prompt": "- a 'fox'", "steps": 8, "quality": "draft", "count": 9}
    tasks = compiled(settings(**given)).tasks
    (capture,), (generate,), (encode,) = [task["commands"] for task in tasks]
    folder = "/out/2024-05-06_070809"
    assert capture == {"name": "exec", "parameters": {"exe": "{das}", "args": [
        "track", "/shots/a b.blend", "-o", f"{folder}/capture", "--resume", "--scene", "Scene", "--frames=1:9",
        "--count=9", "--camera=Nähe", "--first-frame=workbench",
    ]}}  # fmt: skip
    words = [
        "generate", f"{folder}/capture", "-o", f"{folder}/seed-0", "--resume", "--seed", "0",
        "--engine=das", "--prompt=- a 'fox'", "--steps=8", "--quality=draft",
    ]  # fmt: skip
    assert generate == {
        "name": "blender-render",
        "parameters": {"exe": "{das}", "exeArgs": "", "argsBefore": [], "blendfile": "", "args": words},
    }
    assert encode == {"name": "exec", "parameters": {"exe": "{das}", "args": ["encode", f"{folder}/seed-0", "--codec", "ffv1"]}}
    by_blender = compiled(settings(**given, run_by="Blender")).tasks[1]["commands"][0]["parameters"]
    assert by_blender["exe"] == "{blender}" and by_blender["args"] == ["--background", "--command", "das", *words]
    projection = compiled(settings(engine="projection")).tasks[1]["commands"][0]["parameters"]["args"]
    assert "--engine=projection" in projection and not any(word.startswith("--steps") for word in projection)


@needs_node
@pytest.mark.parametrize("seeds, said", [("", "not understood"), ("1;2", "not understood"), ("9-3", "reversed"), ("1-5000", "more than 100"), ("99999999999", "too large")])
def test_seeds_that_are_none(seeds, said):
    with pytest.raises(ValueError, match=said):
        compiled(settings(seeds=seeds))


# the very commands


@pytest.fixture
def programs(tmp_path) -> dict[str, str]:
    """What the Manager's variables stand for. Blender's module stands in for its program."""
    script, blender = tmp_path / "blender.py", tmp_path / "blender"
    script.write_text(
        "import sys\nassert sys.argv[1:4] == ['--background', '--command', 'das']\nimport bpy\n"
        "from diffusion_as_shader.shared import cli\ndel sys.argv[1:4]\ncli.console()\n"
    )
    blender.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{script}" "$@"\n')  # a path after #! must have no blank
    blender.chmod(0o755)
    return {"{das}": shutil.which("das", path=str(Path(sys.executable).parent)), "{blender}": str(blender)}


def command_line(command: dict, programs: dict[str, str]) -> list[str]:
    """As Flamenco's worker builds it."""
    parameters = command["parameters"]
    words = [*shlex.split(parameters.get("exeArgs", "")), *parameters.get("argsBefore", [])]
    return [programs[parameters["exe"]], *words, *([parameters["blendfile"]] if parameters.get("blendfile") else []), *parameters["args"]]


def work(tasks: list[dict], programs: dict[str, str], folder: Path) -> dict[str, str]:
    """Run each task after those that it depends on; what each wrote to standard output."""
    said: dict[str, str] = {}
    for task in tasks:
        assert set(task["dependencies"]) <= said.keys()
        (command,) = task["commands"]
        done = subprocess.run(command_line(command, programs), cwd=folder, capture_output=True, encoding="utf-8", timeout=200)
        assert done.returncode == 0, (task["name"], done.stderr)
        said[task["name"]] = done.stdout
    return said


@needs_node
@pytest.mark.skipif(sys.platform == "win32", reason="the programs' stand-in is a script with #!")
def test_the_commands_make_a_take_and_its_videos(scene_file, programs, tmp_path):
    job = compiled(settings(
        blendfile=str(scene_file), render_output_path=str(tmp_path / "für Müller" / "{timestamp}"),
        seeds="3", engine="projection", count=9, first_frame="workbench", frames="1:5",
    ))  # fmt: skip
    said = work(job.tasks, programs, tmp_path)
    folder = Path(job.settings["render_output_path"])
    take = folder / "seed-3"
    assert sorted(folder.iterdir()) == [folder / "capture", take]
    saved = [str(take / "frames" / f"{number:04d}.png") for number in range(1, 10)] + [str(take / "video.mp4")]
    assert SAVED.findall(said["generate seed 3"]) == saved
    assert all(Path(file).stat().st_size > 100 for file in saved) and (take / "frames.mkv").stat().st_size > 500
    assert json.loads((take / "take.json").read_text(encoding="utf-8"))["request"]["seed"] == 3
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*.png")}
    work(job.tasks, programs, tmp_path)  # a farm may run any of them again
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*.png")} == before and not partial_files(folder)


@needs_node
@pytest.mark.skipif(sys.platform == "win32", reason="the programs' stand-in is a script with #!")
def test_blender_itself_runs_them(scene_file, programs, tmp_path):
    given = {"blendfile": str(scene_file), "render_output_path": str(tmp_path / "out"), "run_by": "Blender"}
    job = compiled(settings(**given, count=9, first_frame="workbench"))
    work(job.tasks[:1], programs, tmp_path)
    assert json.loads((tmp_path / "out" / "capture" / "take.json").read_text(encoding="utf-8"))["state"] == "prepared"


# das farm flamenco


def test_the_script_is_installed_beside_the_manager(tmp_path):
    manager = tmp_path / "Flamenco für alle"
    manager.mkdir()
    refused = das("farm", "flamenco", "--install", manager)
    assert refused.code == 2 and "No Flamenco Manager lies in" in refused.err and "Give the folder" in refused.err
    assert not list(manager.iterdir())
    (manager / "flamenco-manager").touch()
    run = das("farm", "flamenco", "--install", manager)
    script = manager / "scripts" / "diffusion_as_shader.js"
    assert run.code == 0 and str(script) in run.out and "flamenco-manager.yaml" in run.out, run.err
    assert script.read_bytes() == SCRIPT.read_bytes() and not partial_files(manager)
    script.write_text(script.read_text(encoding="utf-8")[:300], encoding="utf-8")  # an older one
    assert das("farm", "flamenco", "--install", manager / "scripts").code == 0
    assert script.read_bytes() == SCRIPT.read_bytes()


def test_a_script_of_somebody_else_is_left_alone(tmp_path):
    (tmp_path / "scripts").mkdir()
    (tmp_path / "flamenco-manager.yaml").touch()
    script = tmp_path / "scripts" / "diffusion_as_shader.js"
    script.write_text("const JOB_TYPE = {};")
    run = das("farm", "flamenco", "--install", tmp_path)
    assert run.code == 2 and "another job type" in run.err and script.read_text() == "const JOB_TYPE = {};"
    missing = das("farm", "flamenco", "--install", tmp_path / "nowhere")
    assert missing.code == 2 and "There is no folder" in missing.err
