"""Which tests run where, and a DAS_HOME of its own for each test.

A test lives in the folder of the part it tests. tests/shared runs in every environment but the model's, tests/backend
and tests/install in the backend's, tests/model in the model's (which is the backend's with torch), tests/blender_addon
in each Blender's. tests/end_to_end runs in each Blender's too, except modules that say `pytestmark = pytest.mark.backend`, which run in the backend's. What does not run in an
environment is not collected there, so that `skipped` always means something.
"""

import importlib.util
import os
import re
import shutil
import signal
import sys
from pathlib import Path

import pytest

from diffusion_as_shader.shared.processes import end_process

# A shell that starts a command in the background lets it ignore Ctrl-C, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

HERE = Path(__file__).parent
FOLDERS = {
    "backend": ("shared", "install", "backend", "end_to_end"),
    "model": ("model",),
    "blender": ("shared", "blender_addon", "end_to_end"),
}
FOR_BACKEND = re.compile(r"^pytestmark = .*pytest\.mark\.backend\b", re.MULTILINE)


def room() -> str:
    """'backend', 'model' or 'blender': what install/run.py says, else what this Python has."""
    marks = {"bpy": "blender", "torch": "model"}
    default = next((room for module, room in marks.items() if importlib.util.find_spec(module)), "backend")
    return os.environ.get("DAS_TEST_ROOM", default)


def runs_here(path: Path) -> bool:
    """Whether a file or folder of tests belongs to this environment."""
    parts = path.relative_to(HERE).parts if path.is_relative_to(HERE) else ()
    if not parts or path.name == "conftest.py" or (len(parts) == 1 and path.is_file()):
        return True
    if parts[0] != "end_to_end" or path.suffix != ".py":
        return parts[0] in FOLDERS[room()]
    # Read, not imported: a module for Blender may import bpy in its first line.
    return room() == ("backend" if FOR_BACKEND.search(path.read_text(encoding="utf-8")) else "blender")


def pytest_ignore_collect(collection_path, config):
    return None if runs_here(collection_path) else True


def pytest_configure(config):
    """What is named on the command line is not asked about above."""
    config.args[:] = [one for one in config.args if runs_here(Path(one.split("::")[0]).resolve())]


EXIT_STATUS = pytest.StashKey[int]()


def pytest_sessionfinish(session, exitstatus):
    session.config.stash[EXIT_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config):
    """As the program itself ends: Blender's module may hang in what its libraries do at exit."""
    if "bpy" in sys.modules:
        end_process(config.stash.get(EXIT_STATUS, pytest.ExitCode.INTERNAL_ERROR))


@pytest.fixture(scope="session")
def checkout() -> Path:
    """The repository's root."""
    return HERE.parent


@pytest.fixture(scope="session")
def shared_data(checkout) -> Path:
    """Scenes that lie beside the checkout."""
    data = checkout.parent / "shared" / "data"
    if not data.is_dir():
        pytest.skip(f"needs the scenes in {data}")
    return data


@pytest.fixture(autouse=True)
def das_home(tmp_path_factory, monkeypatch) -> Path:
    """A home for one test alone: no other's backend is found, and only environments.json is taken along."""
    known = os.environ.get("DAS_HOME")
    folder = tmp_path_factory.mktemp("home")
    if known and (Path(known) / "environments.json").is_file():
        shutil.copy(Path(known) / "environments.json", folder)
    monkeypatch.setenv("DAS_HOME", str(folder))
    return folder
