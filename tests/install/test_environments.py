"""Environments: interrupted, somebody else's, moved, up to date. With real Pythons, a real pip and a small project."""

import json
import os
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest

from diffusion_as_shader.install import environments, errors

HERE = (sys.version_info[0], sys.version_info[1])
PLAN = environments.Plan("backend", "backend", (HERE,))

PROJECT = """\
[build-system]
requires = []
build-backend = "small"
backend-path = ["."]
"""
# A build backend of a few lines, so that pip needs no network and little time.
BACKEND = """\
import zipfile

def build_editable(folder, config_settings=None, metadata_directory=None):
    with zipfile.ZipFile(f"{folder}/small-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("small_project.py", "")
        wheel.writestr("small-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\nProvides-Extra: backend\\nProvides-Extra: model\\n")
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    return "small-1-py3-none-any.whl"

build_wheel = build_editable
"""


def new_project(folder: Path) -> Path:
    """A checkout in a folder whose name has a space and an umlaut."""
    root = folder / "Meine Würfel"
    root.mkdir()
    (root / "pyproject.toml").write_text(PROJECT)
    (root / "small.py").write_text(BACKEND)
    return root


@pytest.fixture
def project(tmp_path) -> Path:
    return new_project(tmp_path)


@pytest.fixture(scope="module")
def made_project(tmp_path_factory) -> Path:
    """A checkout whose environment stands, which takes several seconds and so is shared."""
    root = new_project(tmp_path_factory.mktemp("made"))
    make(root, home=root.parent / "home")
    return root


def make(root: Path, *, home: Path) -> Path:
    """Make the one environment; its Python."""
    (made,), left_out = environments.make_environments(root, [PLAN], folder=home)
    assert not left_out
    return made.python


def imports_project(python: Path) -> bool:
    return subprocess.run([python, "-c", "import small_project"], timeout=60).returncode == 0


def test_made_once_then_left_alone(made_project, tmp_path):
    place = made_project / ".venv" / "backend"
    before = (place / environments.STAMP).stat().st_mtime_ns
    start = time.monotonic()
    python = make(made_project, home=tmp_path)
    assert time.monotonic() - start < 0.5
    assert imports_project(python)
    assert (place / environments.STAMP).stat().st_mtime_ns == before
    (entry,) = json.loads((tmp_path / "environments.json").read_text(encoding="utf-8"))["environments"]
    assert entry == {"room": "backend", "name": "backend", "python": str(python), "blender": None}


def test_changed_requirements_update_it_in_place(made_project, tmp_path):
    place = made_project / ".venv" / "backend"
    before = environments.read_stamp(place)
    (place / "mark").touch()
    change_requirements(made_project)
    make(made_project, home=tmp_path)
    after = environments.read_stamp(place)
    assert after["state"] == "ready" and after["project"] != before["project"]
    assert (place / "mark").exists()


def change_requirements(root: Path) -> None:
    with open(root / "pyproject.toml", "a") as file:
        file.write("# more\n")


def test_a_failing_install_names_its_log_and_is_taken_up_again(made_project, tmp_path):
    change_requirements(made_project)
    (made_project / "small.py").write_text("raise RuntimeError('no disk left')")
    with pytest.raises(errors.InstallError, match="no disk left") as failure:
        make(made_project, home=tmp_path)
    assert "das-install.log" in failure.value.fix
    assert not (tmp_path / "environments.json").exists()
    (made_project / "small.py").write_text(BACKEND)
    assert imports_project(make(made_project, home=tmp_path))


def test_one_that_was_moved_is_not_updated_in_place(made_project):
    place = made_project / ".venv" / "backend"
    stamp = environments.read_stamp(place)
    assert environments.usable(place, stamp)
    assert not environments.usable(place, {**stamp, "place": "/elsewhere/.venv/backend"})


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is of POSIX")
def test_killed_half_way_it_is_made_anew(project, tmp_path):
    script = (
        f"import sys; sys.path.insert(0, {str(Path(environments.__file__).parents[1])!r})\n"
        "from install import environments\n"
        "from pathlib import Path\n"
        f"environments.make_environments(Path({str(project)!r}), [environments.Plan('backend', 'backend', ({HERE},))])"
    )
    child = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    place = project / ".venv" / "backend"
    wait_for(lambda: (place / "pyvenv.cfg").exists())
    os.killpg(child.pid, signal.SIGKILL)
    child.wait()
    assert environments.read_stamp(place)["state"] == "making"
    (place / "rubbish").touch()
    assert imports_project(make(project, home=tmp_path / "home"))
    assert not (place / "rubbish").exists()


def wait_for(condition, within: float = 60) -> None:
    deadline = time.monotonic() + within
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_folder_of_somebody_else_is_left_alone(project, tmp_path):
    theirs = project / ".venv" / "backend" / "thesis.txt"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("years of work")
    with pytest.raises(errors.InstallError, match="not made by this script"):
        make(project, home=tmp_path)
    assert theirs.read_text() == "years of work"


def test_a_blender_without_its_python_is_left_out(project, tmp_path):
    nowhere = environments.Plan("blender-9.9", "blender", ((3, 99),), "9.9.0")
    made, (left_out,) = environments.make_environments(project, [nowhere], folder=tmp_path)
    assert made == [] and left_out.name == "blender-9.9"
    assert "Python 3.99" in left_out.reason and "uv python install 3.99" in left_out.reason
    assert not (project / ".venv" / "blender-9.9").exists()


def test_a_backend_without_a_python_is_an_error(project, tmp_path):
    with pytest.raises(errors.InstallError, match="backend cannot be installed"):
        environments.make_environments(project, [PLAN._replace(pythons=((3, 99),))], folder=tmp_path)


def test_plans_are_what_pyproject_installs(checkout):
    extras = tomllib.loads((checkout / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    pins = [(plan.blender, "{}.{}".format(*plan.pythons[0])) for plan in environments.PLANS if plan.blender]
    assert extras["blender"] == [f"bpy=={blender}; python_version == '{python}'" for blender, python in pins]
    assert not [one for one in extras["backend"] if one.startswith("torch")]
    assert environments.MODEL.first in extras["model"]


def test_the_models_environment_serves_the_backends_room_and_has_its_extras(project, tmp_path):
    plan = environments.MODEL._replace(pythons=(HERE,), first="", alone=())
    (made,), _ = environments.make_environments(project, [plan], test=True, folder=tmp_path)
    assert made.entry() == {"room": "backend", "name": "model", "python": str(made.python), "blender": None}
    assert environments.read_stamp(project / ".venv" / "model")["extras"] == ["backend", "model", "test", "train"]


def test_what_goes_alone_comes_last_without_what_it_asks_for(project, tmp_path):
    """A package that asks for one that there is not."""
    (tmp_path / "other").mkdir()
    other = new_project(tmp_path / "other")
    backend = BACKEND.replace("small", "lonely").replace("Version: 1\\n", "Version: 1\\nRequires-Dist: das-no-such-package\\n")
    (other / "small.py").write_text(backend)
    plan = PLAN._replace(alone=(str(other),))
    (made,), _ = environments.make_environments(project, [plan], folder=tmp_path)
    assert subprocess.run([made.python, "-c", "import small_project, lonely_project"], timeout=60).returncode == 0
    assert environments.read_stamp(project / ".venv" / "backend")["alone"] == [str(other)]


def test_what_goes_first_is_installed_alone_and_where_it_cannot_be_had_the_model_is_left_out(project, tmp_path):
    plan = environments.MODEL._replace(pythons=(HERE,), first="das-no-such-package==1", key="das-no-such-package")
    made, (left_out,) = environments.make_environments(project, [plan], folder=tmp_path)
    assert made == [] and left_out.reason == "there is no das-no-such-package==1 for this kind of machine."
    log = (project / ".venv" / "model" / "das-install.log").read_text()
    assert "das-no-such-package" in log and "small" not in log
