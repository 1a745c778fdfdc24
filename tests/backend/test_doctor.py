"""`das doctor`: everything is looked at, nothing ends it."""

import io
import json
import sys

import msgspec
import pytest

from diffusion_as_shader.backend.commands import doctor as backend_doctor
from diffusion_as_shader.shared import cli, doctor, home
from diffusion_as_shader.shared.errors import BackendError
from diffusion_as_shader.shared.report import JsonReporter, Reporter


def run(*words, reporter=JsonReporter):
    out = io.StringIO()
    assert backend_doctor.run(cli.parser().parse_args(["doctor", *words]), reporter(out, io.StringIO())) == 0
    return out.getvalue()


def findings(*words):
    return {finding["name"]: finding for finding in json.loads(run(*words).splitlines()[-1])["findings"]}


def write_environments(*entries):
    home.home().mkdir(parents=True, exist_ok=True)
    home.environments_file().write_bytes(msgspec.json.encode(home.Environments(environments=list(entries))))


def test_here_is_what_this_python_can_say():
    found = findings("--here")
    assert set(found) == {"packages", "engines", "video", "workers"} and all(one["ok"] for one in found.values())
    assert "projection on cpu" in found["engines"]["value"] and "imageio" in found["packages"]["value"]


def test_without_environments_the_fix_is_named():
    home.environments_file().unlink(missing_ok=True)
    found = findings()
    assert not found["environments"]["ok"] and "install/run.py setup" in found["environments"]["fix"]
    assert found["running backend"]["ok"] and found["home"]["value"] == str(home.home())


def test_every_other_python_is_asked(tmp_path):
    write_environments(
        home.Environment(room="backend", name="twin", python=sys.executable),
        home.Environment(room="blender", name="silent", python=_silent(tmp_path), blender="9.9.9"),
    )
    found = findings()
    assert "twin: engines" not in found, "that is this one"
    assert not found["silent"]["ok"] and "gives no answer" in found["silent"]["value"] and found["silent"]["fix"]


def test_another_environment_answers_for_itself(tmp_path):
    known = home.environments("blender")
    if not known:
        pytest.skip("environments.json names no Blender")
    write_environments(known[0])
    assert known[0].blender in findings()[f"{known[0].name}: version"]["value"]


def test_a_broken_file_and_an_unwritable_home_are_findings(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    monkeypatch.setenv("DAS_HOME", str(tmp_path / "file"))
    found = findings("--here")
    assert found["engines"]["ok"]
    monkeypatch.setenv("DAS_HOME", str(tmp_path / "home"))
    home.home().mkdir()
    home.environments_file().write_text("{")
    assert not findings()["environments"]["ok"]


def test_what_goes_wrong_is_a_finding():
    def gone():
        raise BackendError("It is gone.", "Start it.")

    assert doctor.look("a", gone) == doctor.Finding(name="a", value="It is gone.", ok=False, fix="Start it.")
    assert "ZeroDivisionError" in doctor.look("b", lambda: 1 / 0).value


def test_people_get_a_table():
    lines = run("--here", reporter=Reporter).splitlines()
    assert lines[0].startswith("  packages  Python ")


def _silent(folder) -> str:
    """A 'Python' that says nothing."""
    silent = folder / "python"
    silent.write_text("#!/bin/sh\nexit 1\n")
    silent.chmod(0o755)
    return str(silent)
