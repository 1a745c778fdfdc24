"""The environment that Preferences look after: made, switched, undone, removed. Real Pythons, and a backend of a few lines."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from diffusion_as_shader.install import backend_environment as managed
from diffusion_as_shader.install import errors, home, torch_builds
from diffusion_as_shader.install.environments import STAMP, python_in

KIND = managed.Kind("projection", ("backend",), "", 0.01, "import diffusion_as_shader.backend")
PROJECT = """\
[project]
version = "1.2.3"
dependencies = []
optional-dependencies = { backend = [] }
"""
SECONDS = 120


@pytest.fixture
def source(tmp_path) -> Path:
    """What an extension brings, in a folder whose name has a space and an umlaut."""
    root = tmp_path / "Blender Ümläut"
    for folder in managed.FOLDERS:
        (root / folder / "__pycache__").mkdir(parents=True)
        (root / folder / "__init__.py").touch()
    for name in managed.FILES:
        (root / name).touch()
    (root / "pyproject.toml").write_text(PROJECT)
    return root


@pytest.fixture
def work(tmp_path, monkeypatch) -> managed.Work:
    """A home with the environment of a checkout in it, and everything told in ``work.told``."""
    told = []
    made = managed.Work(tmp_path / "Heim Ü", lambda event, **fields: told.append({"event": event, **fields}))
    made.told = told
    monkeypatch.setattr(managed, "commands", empty_environment)
    home.register([{"room": "backend", "name": "model", "python": "/somebody/else", "blender": None}], made.home)
    return made


def empty_environment(place: Path, kind: managed.Kind, interpreter: managed.Interpreter, source: Path) -> list:
    """The steps without pip, which takes most of the time and is in the way of none of what is tested here."""
    return [managed.Step("environment", lambda: [interpreter.path, "-m", "venv", "--without-pip", place / "env"])]


def install(source: Path, work: managed.Work, **options) -> Path:
    return managed.install(source, work, KIND, sys.executable, **options)


def change(source: Path, code: str = "# newer\n") -> None:
    (source / "backend" / "__init__.py").write_text(code)


def registered(work: managed.Work) -> dict[str, str]:
    return {entry["name"]: entry["python"] for entry in home.known(work.home)}


def test_it_runs_a_copy_of_the_code_and_a_second_time_is_left_alone(source, work):
    place = install(source, work)
    assert registered(work) == {"model": "/somebody/else", managed.NAME: str(python_in(place / "env"))}
    assert place.name.startswith("1.2.3-") and managed.read_stamp(place)["kind"] == "projection"
    asked = "import diffusion_as_shader.backend as b; print(ascii(b.__file__))"
    said = subprocess.run([python_in(place / "env"), "-c", asked], capture_output=True, text=True, timeout=60).stdout
    assert Path(eval(said)) == place / "code" / "diffusion_as_shader" / "backend" / "__init__.py"
    phases = [one["phase"] for one in work.told]
    assert phases == ["environment", "trying it"]
    assert install(source, work) == place and len(work.told) == 2


def test_an_update_is_made_beside_the_old_one_which_goes_when_no_process_runs_from_it(source, work):
    old = install(source, work)
    running = subprocess.Popen([python_in(old / "env"), "-c", "input()"], stdin=subprocess.PIPE)
    try:
        change(source)
        new = install(source, work)
        assert new != old and registered(work)[managed.NAME] == str(python_in(new / "env"))
        assert managed.clean(work) == 1 and (old / "code").is_dir()
    finally:
        running.communicate(timeout=30)
    assert managed.clean(work) == 0 and managed.places(work) == [new]


def test_what_fails_is_undone_and_the_old_one_goes_on(source, work):
    old = install(source, work)
    change(source, "raise RuntimeError('no such card')")
    with pytest.raises(errors.InstallError, match="no such card") as failure:
        install(source, work)
    assert "backend-install.log" in failure.value.fix
    assert managed.places(work) == [old] and managed.current_place(work) == old
    assert sorted(path.name for path in work.folder.iterdir()) == [".lock", old.name]


def test_a_repair_is_made_beside_what_it_repairs(source, work):
    old = install(source, work)
    new = install(source, work, again=True)
    assert new.name == f"{old.name}.2" and managed.current_place(work) == new
    assert managed.clean(work) == 0 and not old.exists()


def test_what_is_about_to_end_is_waited_for(source, work):
    place = install(source, work)
    with subprocess.Popen([python_in(place / "env"), "-c", "import time; time.sleep(1.5)"]):
        wait_for(lambda: managed.runs_from(place))
        assert managed.remove_all(work) == 0 and not place.exists()


def test_what_was_not_made_here_stays(source, work):
    place = install(source, work)
    theirs = work.folder / "thesis" / "years.txt"
    theirs.parent.mkdir()
    theirs.touch()
    linked = work.folder / "linked"
    linked.symlink_to(source.parent, target_is_directory=True)
    assert managed.remove_all(work) == 0
    assert not place.exists() and theirs.exists() and linked.is_symlink() and source.exists()
    assert registered(work) == {"model": "/somebody/else"}


def test_one_that_was_killed_half_way_is_replaced(source, work):
    half = managed.free_place(work, f"1.2.3-{managed.fingerprint(source)[:8]}")
    (half / "env").mkdir(parents=True)
    home.write_json(half / STAMP, {"state": "making"})
    assert install(source, work) == half and managed.read_stamp(half)["state"] == "ready"


def test_a_full_disk_and_a_wrong_python_are_told_before_anything_is_made(source, work):
    with pytest.raises(errors.InstallError, match="GB are needed"):
        managed.install(source, work, KIND._replace(gigabytes=1e9), sys.executable)
    with pytest.raises(errors.InstallError, match="is no Python"):
        managed.install(source, work, KIND, str(source))
    assert managed.places(work) == []


def test_closing_its_input_stops_it_and_undoes_everything(checkout, tmp_path):
    """As when the user cancels, or Blender ends: with the real script and the real list of packages."""
    command = [sys.executable, checkout / "install" / "managed_backend.py", "install", "--home", tmp_path, "--attached"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert json.loads(child.stdout.readline())["phase"] == "environment"
        wait_for(lambda: list(tmp_path.glob("backend/*/env/pyvenv.cfg")))
        child.stdin.close()
        events = [json.loads(line)["event"] for line in child.stdout]
        assert child.wait(SECONDS) == 130 and events[-1] == "cancelled"
    assert [path.name for path in (tmp_path / "backend").iterdir()] == [".lock"]
    assert not (tmp_path / "environments.json").exists()
    assert not [program for program in managed.running_programs() if program.startswith(str(tmp_path))]


def wait_for(condition) -> None:
    end = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("build", "system", "nvidia", "uv"),
    [
        ("auto", "linux", True, False),
        ("auto", "linux", False, True),
        ("cpu", "linux", True, True),
        ("auto", "darwin", False, False),
        ("cpu", "darwin", False, False),
        ("auto", "win32", True, True),
        ("cpu", "win32", False, True),
    ],
)
def test_the_build_of_torch_is_that_of_the_card(build, system, nvidia, uv):
    assert torch_builds.uses_uv(build, system, nvidia) is uv
    words = torch_builds.uv_command(build, Path("/env/bin/python"), "torch==2.13.0")
    assert words[1:5] == ["-m", "uv", "pip", "install"] and words[-2:] == [f"--torch-backend={build}", "torch==2.13.0"]


def test_where_uv_fails_pip_stands_in_and_that_is_noted(source, work, monkeypatch):
    def steps(place, kind, interpreter, source):
        wrong = [sys.executable, "-c", "raise SystemExit('no such host')"]
        return [*empty_environment(place, kind, interpreter, source), managed.Step("torch", lambda: wrong, lambda: [sys.executable, "-c", ""], "pip stood in.")]

    monkeypatch.setattr(managed, "commands", steps)
    assert managed.read_stamp(install(source, work))["notes"] == ["pip stood in."]
    assert "no such host" in work.log.read_text()


def test_the_models_environment_gets_torch_before_all_others(source, tmp_path):
    (source / "pyproject.toml").write_text('[project]\ndependencies = ["a"]\noptional-dependencies = { backend = ["b"], model = ["torch==2.13.0"] }\n')
    interpreter = managed.Interpreter(Path(sys.executable), sys.version_info[:3])
    labels = [step.label for step in managed.commands(tmp_path, managed.KINDS["model-cpu"], interpreter, source)]
    assert labels[0] == "environment" and labels[-2:] == ["packages", "depth"] and "torch" in labels[1:-2]
    assert managed.requirements(source, ("backend", "model")) == ["a", "b", "torch==2.13.0"]


@pytest.mark.skipif(os.name == "nt", reason="Windows asks the file system")
def test_processes_that_run_from_elsewhere_do_not_count(source, work):
    place = install(source, work)
    assert not managed.runs_from(place)
    with subprocess.Popen([python_in(place / "env"), "-c", "input()"], stdin=subprocess.PIPE) as child:
        wait_for(lambda: managed.runs_from(place))
        child.stdin.close()
