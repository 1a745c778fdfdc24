"""DAS_HOME: where everything lies, and which Pythons are known."""

import sys

import msgspec
import pytest

from diffusion_as_shader.shared import home
from diffusion_as_shader.shared.errors import UsageError


def test_the_variable_chooses_the_folder(das_home):
    assert home.home() == das_home
    files = (home.connection_file(), home.spool_folder(), home.log_folder(), home.environments_file())
    assert all(file.parent == das_home for file in files)


def test_without_it_the_users_state_folder_is_taken(monkeypatch):
    monkeypatch.delenv("DAS_HOME")
    assert home.home().name == "diffusion_as_shader"
    assert home.home().is_absolute()


def test_without_a_file_no_environment_is_known():
    home.environments_file().unlink(missing_ok=True)
    assert home.environments("backend") == []


def test_environments_of_a_room_that_still_exist(tmp_path):
    entries = [
        home.Environment("backend", "one", sys.executable),
        home.Environment("backend", "deleted", str(tmp_path / "python")),
        home.Environment("blender", "4.5", sys.executable, "4.5.15"),
    ]
    home.environments_file().write_bytes(msgspec.json.encode(home.Environments(environments=entries)))
    assert [entry.name for entry in home.environments("backend")] == ["one"]
    assert [entry.blender for entry in home.environments("blender")] == ["4.5.15"]


def test_the_environment_with_the_model_comes_first():
    entries = [home.Environment("backend", name, sys.executable) for name in ("backend", "model", "other")]
    home.environments_file().write_bytes(msgspec.json.encode(home.Environments(environments=entries)))
    assert [entry.name for entry in home.environments("backend")] == ["model", "backend", "other"]


@pytest.mark.parametrize(
    "kind, order",
    [
        ("model", ["preferences", "model", "backend"]),
        ("model-cpu", ["preferences", "model", "backend"]),
        ("", ["preferences", "model", "backend"]),  # an older installer did not say it
        ("projection", ["model", "preferences", "backend"]),
    ],
)
def test_what_preferences_have_made_comes_first_but_not_before_a_model_that_it_lacks(kind, order):
    entries = [home.Environment("backend", name, sys.executable) for name in ("backend", "model")]
    entries.append(home.Environment("backend", "preferences", sys.executable, kind=kind))
    home.environments_file().write_bytes(msgspec.json.encode(home.Environments(environments=entries)))
    assert [entry.name for entry in home.environments("backend")] == order


def test_weights_lie_at_home_or_where_the_variable_says(monkeypatch, tmp_path):
    monkeypatch.delenv("DAS_MODELS", raising=False)
    assert home.model_folder() == home.home() / "models"
    monkeypatch.setenv("DAS_MODELS", str(tmp_path))
    assert home.model_folder() == tmp_path


@pytest.mark.parametrize("content", [b"{", b'{"environments": 3}', b'{"environments": [{"room": "kitchen"}]}'])
def test_an_unreadable_file_is_told_with_its_fix(content):
    home.environments_file().write_bytes(content)
    with pytest.raises(UsageError) as caught:
        home.environments("backend")
    assert "setup" in caught.value.fix
