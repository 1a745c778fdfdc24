"""install/run.py: wrong input, and the sum over test runs in real processes."""

import subprocess
import sys
from pathlib import Path

import pytest

from diffusion_as_shader.install import run as script
from diffusion_as_shader.install import tests as rooms
from diffusion_as_shader.install.environments import Made

HERE = [Made("one", "backend", Path(sys.executable), None), Made("two", "backend", Path(sys.executable), None)]


def run(checkout: Path, *arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, checkout / "install" / "run.py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_a_missing_scene_is_said_before_anything_is_made(checkout):
    ended = run(checkout, "demo", "--scene", "no such.blend")
    assert ended.returncode == 3
    assert ended.stderr.splitlines() == ["Error: There is no file no such.blend.", "Give the path of a .blend file."]
    assert ended.stdout == ""


def test_wrong_usage_is_code_2(checkout):
    assert run(checkout, "demo", "--blender", "2.7").returncode == 2
    assert run(checkout).returncode == 2


@pytest.mark.parametrize(
    "words, stands, wanted",
    [(["setup"], False, False), (["setup"], True, True), (["setup", "--model"], False, True), (["test"], False, True), (["test", "--without-model"], True, False)],
)  # fmt: skip
def test_who_gets_the_models_environment(monkeypatch, words, stands, wanted):
    asked = []
    monkeypatch.setattr(script, "has_model", lambda: stands)
    monkeypatch.setattr(script, "make_environments", lambda root, plans, test=False: asked.extend(plans) or ([], []))
    monkeypatch.setattr(script, "run_tests", lambda *ignored: 0)
    assert script.main([*words, "--blender", "5.2"]) == 0
    assert [plan.name for plan in asked] == ["backend", *(["model"] if wanted else []), "blender-5.2"]


def test_the_soak_needs_the_backends_environment_only(monkeypatch):
    asked, told = [], []
    monkeypatch.setattr(script, "make_environments", lambda root, plans, test: asked.extend(plans) or (HERE[:1], []))
    monkeypatch.setattr(script, "run_soak", lambda root, one, arguments: told.append((one, arguments)) or 3)
    assert script.main(["test", "--soak", "--", "jobs", "--seed", "5"]) == 3
    assert [plan.name for plan in asked] == ["backend"]
    assert told == [(HERE[0], ["jobs", "--seed", "5"])]


def test_the_soak_is_run_in_the_tests_folder(tmp_path):
    (tmp_path / "tests" / "soak").mkdir(parents=True)
    (tmp_path / "tests" / "soak" / "__main__.py").write_text("import sys; sys.exit(int(sys.argv[1]))")
    assert rooms.run_soak(tmp_path, HERE[0], ["7"]) == 7


def test_the_models_environment_runs_its_own_tests():
    assert rooms.room_to_test(Made("model", "backend", Path(sys.executable), None)) == "model"
    assert rooms.room_to_test(HERE[0]) == "backend"


def suite(folder: Path, **modules: str) -> Path:
    """A small root with its own test modules."""
    root = folder / "root"
    root.mkdir()
    for name, text in modules.items():
        (root / f"test_{name}.py").write_text(text)
    return root


def test_counts_add_up_over_environments(tmp_path, capsys):
    text = "import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no')\ndef test_c(): assert 0\n"
    root = suite(tmp_path, mixed=text)
    assert rooms.run_tests(root, HERE, ["-p", "no:cacheprovider"], jobs=2) == 1
    out = capsys.readouterr().out
    assert out.splitlines()[-1] == "2 passed, 2 failed, 2 skipped"
    assert out.index("=== one") < out.index("=== two")
    assert out.count("slowest 10 durations") == 2


def test_all_passed_is_code_0_and_each_has_a_home_of_its_own(tmp_path, capsys):
    text = f"import os, pathlib\ndef test_home(): open({str(tmp_path / 'homes')!r}, 'a').write(os.environ['DAS_HOME'] + '\\n')"
    assert rooms.run_tests(suite(tmp_path, homes=text), HERE, ["-p", "no:cacheprovider"], jobs=1) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "2 passed, 0 failed, 0 skipped"
    assert len(set((tmp_path / "homes").read_text().split())) == 2


def test_a_run_that_dies_counts_as_failed(tmp_path, capsys):
    root = suite(tmp_path, dies="import os\ndef test_a(): os._exit(139)")
    assert rooms.run_tests(root, HERE[:1], ["-p", "no:cacheprovider"], jobs=1) == 1
    out = capsys.readouterr().out
    assert "one: the run ended with code 139" in out
    assert out.splitlines()[-1] == "0 passed, 1 failed, 0 skipped"


def test_a_run_that_never_ends_is_stopped_and_failed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(rooms, "SECONDS_TO_END", 1.0)
    hangs = "import atexit, time\natexit.register(time.sleep, 600)\ndef test_a(): pass\n"
    assert rooms.run_tests(suite(tmp_path, hangs=hangs), HERE[:1], ["-p", "no:cacheprovider"], jobs=1) == 1
    out = capsys.readouterr().out
    assert "one: the run has written its results and does not end" in out
    assert out.splitlines()[-1] == "1 passed, 1 failed, 0 skipped"


def test_no_test_at_all_is_a_failure(tmp_path):
    assert rooms.run_tests(suite(tmp_path), HERE[:1], [], jobs=1) == 1
