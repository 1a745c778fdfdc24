"""install/ and the package must mean the same folder, and write the same file."""

import sys
from pathlib import Path

import platformdirs.macos
import platformdirs.unix
import platformdirs.windows
import pytest

from diffusion_as_shader.install import errors, home
from diffusion_as_shader.shared import home as shared_home

NAME = "diffusion_as_shader"


def entry(name: str, python: str = sys.executable) -> dict:
    return {"room": "blender", "name": name, "python": python, "blender": "4.5.15"}


def test_the_variable_comes_first(das_home):
    assert home.home() == shared_home.home() == das_home


@pytest.mark.parametrize("xdg", [None, "", "relative", "/somewhere/state"])
def test_the_users_state_folder_on_linux(monkeypatch, xdg):
    monkeypatch.delenv("DAS_HOME")
    monkeypatch.setattr(home.sys, "platform", "linux")
    set_or_not(monkeypatch, "XDG_STATE_HOME", xdg)
    assert home.home() == Path(platformdirs.unix.Unix(NAME, appauthor=False).user_state_dir)


@pytest.mark.parametrize("xdg", [None, "/somewhere/state"])
def test_the_users_state_folder_on_macos(monkeypatch, xdg):
    monkeypatch.delenv("DAS_HOME")
    set_or_not(monkeypatch, "XDG_STATE_HOME", xdg)
    wanted = platformdirs.macos.MacOS(NAME, appauthor=False).user_state_dir
    monkeypatch.setattr(home.sys, "platform", "darwin")
    assert home.home() == Path(wanted)


def test_the_users_state_folder_on_windows(monkeypatch, tmp_path):
    monkeypatch.delenv("DAS_HOME")
    monkeypatch.setenv("LOCALAPPDATA", str(tmp_path))
    monkeypatch.setattr(platformdirs.windows, "get_win_folder", platformdirs.windows.get_win_folder_from_env_vars)
    wanted = platformdirs.windows.Windows(NAME, appauthor=False).user_state_dir
    monkeypatch.setattr(home.sys, "platform", "win32")
    assert home.home() == Path(wanted) == tmp_path / NAME


def test_this_machine(monkeypatch):
    monkeypatch.delenv("DAS_HOME")
    assert home.home() == shared_home.home()


def set_or_not(monkeypatch, name: str, value: str | None) -> None:
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)


def test_the_package_reads_what_is_written(das_home):
    home.register([entry("blender-4.5")], das_home)
    found = {one.name: one for one in shared_home.environments("blender")}["blender-4.5"]
    assert (found.python, found.blender) == (sys.executable, "4.5.15")


def test_entries_of_others_stay(tmp_path):
    home.register([entry("mine"), entry("theirs")], tmp_path)
    home.register([entry("mine", "/new/python")], tmp_path)
    known = {one["name"]: one["python"] for one in home.known(tmp_path)}
    assert known == {"theirs": sys.executable, "mine": "/new/python"}
    assert [path.name for path in tmp_path.iterdir()] == ["environments.json"]


def test_a_broken_file_is_said_and_kept(tmp_path):
    path = tmp_path / "environments.json"
    path.write_text('{"version": 1, "environ')
    with pytest.raises(errors.InstallError, match="cannot be read") as failure:
        home.register([entry("mine")], tmp_path)
    assert "Delete it" in failure.value.fix
    assert path.read_text() == '{"version": 1, "environ'
