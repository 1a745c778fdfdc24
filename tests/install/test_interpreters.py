"""Finding Pythons among shims that start nothing."""

import os
import stat
import sys
from pathlib import Path

import pytest

from diffusion_as_shader.install import interpreters

HERE = (sys.version_info[0], sys.version_info[1])
NAME = f"python{HERE[0]}.{HERE[1]}"

pytestmark = pytest.mark.skipif(os.name == "nt", reason="shims as shell scripts are of POSIX")


def program(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """A machine with nothing on PATH, an empty home folder, and a running Python of another version."""
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path / "pyenv"))
    monkeypatch.setenv("UV_PYTHON_INSTALL_DIR", str(tmp_path / "uv"))
    monkeypatch.setattr(interpreters.sys, "version_info", (3, 9, 0))
    return tmp_path


def test_a_shim_that_fails_is_passed_over(machine):
    program(machine / "path" / NAME, "echo 'pyenv: command not found' >&2; exit 127")
    works = program(machine / "pyenv" / "versions" / f"{HERE[0]}.{HERE[1]}.99" / "bin" / NAME, f'exec "{sys.executable}" "$@"')
    commands = list(interpreters.candidates(HERE))
    assert commands[0] == [str(machine / "path" / NAME)]
    assert [str(works)] in commands
    found = interpreters.find_interpreter(HERE)
    assert found.version[:2] == HERE


def test_a_name_is_no_proof_of_a_version(machine):
    liar = program(machine / "path" / "python3.99", f'exec "{sys.executable}" "$@"')
    assert interpreters.ask([str(liar)]).version[:2] == HERE
    assert interpreters.find_interpreter((3, 99)) is None


def test_a_python_that_cannot_make_environments_is_passed_over(machine):
    bare = program(machine / "path" / NAME, f'[ "$1" = -I ] && exit 1; exec "{sys.executable}" "$@"')
    assert interpreters.ask([str(bare)]) is None


def test_a_missing_one_is_none(machine):
    assert interpreters.ask([str(machine / "none")]) is None


@pytest.mark.parametrize("manager, path", [("uv", "cpython-{}.7-linux-x86_64-gnu/bin/python{}"), ("pyenv", "versions/{}.2/bin/python{}")])
def test_version_managers_are_looked_into(machine, manager, path):
    version = f"{HERE[0]}.{HERE[1]}"
    works = program(machine / manager / path.format(version, version), f'exec "{sys.executable}" "$@"')
    assert works in list(interpreters.known_places(HERE))


def test_the_base_of_an_environment_is_what_counts():
    found = interpreters.ask([sys.executable])
    assert found.version == sys.version_info[:3]
    assert not (found.path.parent.parent / "pyvenv.cfg").exists()
