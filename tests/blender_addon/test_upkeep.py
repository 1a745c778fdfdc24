"""The backend from Preferences: installed for real, cancelled, refused offline; its models by a program that plays their part."""

import json
import os
import stat
import sys
import textwrap
import time
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader import blender_addon
from diffusion_as_shader.blender_addon import preferences, preferences_backend, properties
from diffusion_as_shader.blender_addon.backend_work import Installation
from diffusion_as_shader.blender_addon.child_process import ChildProcess
from diffusion_as_shader.blender_addon.panels import sidebar
from diffusion_as_shader.blender_addon.upkeep import upkeep
from diffusion_as_shader.shared import backend_process, home
from diffusion_as_shader.shared.managed_backend import find_managed

from .panel_layout import Layout

SECONDS = 280
SLOWEST_STEP = 0.2  # of a busy machine; a step is usually a thousandth of it


@pytest.fixture
def chosen(monkeypatch):
    """The add-on's preferences, of an add-on that is enabled and may go online."""
    if hasattr(bpy.types.Scene, "das"):
        properties.unregister()
    for name in ("DAS_CONNECTION", "DAS_MODELS"):
        monkeypatch.delenv(name, raising=False)
    entry = bpy.context.preferences.addons.new()
    entry.module = preferences.ADDON
    blender_addon.register()
    bpy.context.preferences.system.use_online_access = True
    yield preferences.own_preferences()
    blender_addon.unregister()
    bpy.context.preferences.addons.remove(entry)
    bpy.context.preferences.system.use_online_access = False


def run_to_end() -> str:
    """What the timer does in a window; what Preferences say then."""
    end, slowest = time.monotonic() + SECONDS, 0.0
    while True:
        began = time.monotonic()
        going_on = upkeep.step()
        slowest = max(slowest, time.monotonic() - began)
        if not going_on:
            assert slowest < SLOWEST_STEP
            return upkeep.message
        assert time.monotonic() < end
        time.sleep(0.01)


def step_until(reached) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        assert upkeep.step() and time.monotonic() < end
        time.sleep(0.01)


def drawn(chosen) -> list[str]:
    layout = Layout()
    chosen.draw_backend(layout, bpy.context)
    chosen.draw_models(layout, bpy.context)
    return layout.seen


def made(das_home: Path) -> list[Path]:
    return [path for path in das_home.glob("backend/*") if path.is_dir()]


def test_install_use_and_remove_for_real(chosen, das_home):
    (das_home / "environments.json").unlink(missing_ok=True)
    assert preferences_backend.backend_state() == ("No backend is installed. Install it here.", False)
    assert bpy.ops.das.install_backend() == {"FINISHED"}
    assert run_to_end() == "The backend is installed.", upkeep.fix
    managed = find_managed()
    assert managed.works and managed.kind == "projection" and managed.version == preferences_backend.own_version()
    assert [Path(managed.place)] == made(das_home)
    assert "Repair" in str(preferences_backend.wanted_action(managed, "projection"))

    bpy.ops.das.start_backend()
    assert run_to_end() == "The backend runs, with projection.", upkeep.fix
    assert Path(home.environments("backend")[0].python).is_relative_to(managed.place)

    assert backend_process.ensure_backend()  # and nobody lets go of it meanwhile
    bpy.ops.das.remove_backend()
    assert run_to_end() == "The backend is removed."
    assert made(das_home) == [] and find_managed() is None and backend_process.find_backend() is None


def test_cancelled_half_way_everything_is_as_before(chosen, das_home):
    before = home.environments("backend")
    bpy.ops.das.install_backend()
    step_until(lambda: list(das_home.glob("backend/*/env/pyvenv.cfg")))
    assert upkeep.progress.phase == "environment" and "das.cancel_upkeep" in drawn(chosen)
    bpy.ops.das.cancel_upkeep()
    assert run_to_end() == "The installation was cancelled, and everything is as it was before."
    assert made(das_home) == [] and home.environments("backend") == before and not upkeep.failed


def test_when_blender_quits_half_way_the_installer_undoes_it_alone(chosen, das_home):
    upkeep.start(Installation("projection"))
    step_until(lambda: list(das_home.glob("backend/*/env/pyvenv.cfg")))
    upkeep.close()
    end = time.monotonic() + 60
    while made(das_home):
        assert time.monotonic() < end
        time.sleep(0.05)


def test_another_file_does_not_stop_it(chosen, das_home):
    bpy.ops.das.install_backend()
    step_until(lambda: list(das_home.glob("backend/*/env/pyvenv.cfg")))
    bpy.ops.wm.read_homefile(use_empty=True)
    assert upkeep.running
    upkeep.cancel()
    run_to_end()


def test_offline_nothing_is_fetched_and_what_is_here_is_listed(chosen, das_home):
    bpy.context.preferences.system.use_online_access = False
    for operator in (bpy.ops.das.install_backend, lambda: bpy.ops.das.pull_model(model="sam2")):
        with pytest.raises(RuntimeError, match="Blender may not go online"):
            operator()
    assert not upkeep.running and made(das_home) == []
    bpy.ops.das.list_models()
    run_to_end()
    listed = {entry.name: entry for entry in upkeep.models.models}
    assert listed["sam2"].licence == "Apache-2.0" and listed["sam2"].bytes and not listed["sam2"].folder
    seen = drawn(chosen)
    assert seen.count("das.pull_model") == len(listed) and "156 MB" in seen and "das.remove_model" not in seen


def test_a_python_that_cannot_be_one_is_told_with_what_to_do(chosen, das_home):
    chosen.backend_python = str(das_home / "nothing")
    bpy.ops.das.install_backend()
    assert "is no Python" in run_to_end() and upkeep.failed and upkeep.fix == "Choose another one, or none."
    assert "is no Python" in " ".join(drawn(chosen))


# A first line cannot name a Python whose path has spaces: the shell starts it, and to Python its lines are a text.
STAND_IN = """\
    #!/bin/sh
    '''exec' "{python}" "$0" "$@"
    ' '''
    import json, sys, time
    from pathlib import Path
    here, (action, *name) = Path(__file__).parent, sys.argv[4:-1]
    def tell(event, **fields): print(json.dumps({{"event": event, **fields}}), flush=True)
    partial = here / "partial"
    if action == "list":
        have = int(partial.read_text()) if partial.exists() else 0
        tell("result", folder=str(here), free=5, models=[{{"name": "sam2", "what": "masks", "bytes": 9000000, "partial": have}}])
    elif partial.exists():
        tell("error", kind="usage", message="The hub is away.", fix="Try later.", exit_code=2)
        sys.exit(2)
    else:
        tell("note", message="sam2: 9 MB, licence Apache-2.0.")
        tell("progress", phase="fetch MB", step=4, total=9, eta=None)
        partial.write_text("4000000")
        time.sleep(100)
    """


@pytest.fixture
def stand_in(das_home) -> Path:
    """A backend's Python whose downloads take for ever."""
    program = das_home / "python stand-in"
    program.write_text(textwrap.dedent(STAND_IN).format(python=sys.executable))
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    entry = {"room": "backend", "name": "preferences", "python": str(program), "blender": None}
    (das_home / "environments.json").write_text(json.dumps({"version": 1, "environments": [entry]}))
    return program


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line")
def test_a_download_shows_its_progress_pauses_and_can_go_on(chosen, stand_in):
    bpy.ops.das.pull_model(model="sam2")
    step_until(lambda: upkeep.progress.step)
    assert upkeep.progress == ("fetch MB", 4, 9, None) and "licence Apache-2.0" in upkeep.log[-1]
    assert upkeep.work.cancel_word == "Pause" and "Fetch MB 4/9" in drawn(chosen)
    bpy.ops.das.cancel_upkeep()
    assert run_to_end() == "The download of sam2 pauses, and goes on where it is."
    assert "4 MB of 9 MB" in drawn(chosen)
    bpy.ops.das.pull_model(model="sam2")
    assert run_to_end() == "The hub is away." and upkeep.failed and upkeep.fix == "Try later."
    assert upkeep.models.models[0].partial == 4_000_000


@pytest.mark.skipif(os.name == "nt", reason="the stand-in is a script with a first line")
def test_when_blender_quits_a_download_ends(chosen, stand_in, monkeypatch):
    begun = []
    monkeypatch.setattr(ChildProcess, "terminate", lambda child: begun.append(child._child) or child._child.terminate())
    bpy.ops.das.pull_model(model="sam2")
    step_until(lambda: upkeep.progress.step)
    upkeep.close()
    assert begun[0].wait(30) != 0


def test_the_other_machines_backend_is_used_once_it_has_answered(chosen, das_home, tmp_path):
    bpy.ops.das.connect_backend(filepath=str(das_home / "environments.json"))
    assert "is no connection file" in run_to_end() and chosen.connection == ""
    for connection in backend_process.starting():
        if connection is None:
            time.sleep(0.05)
    copied = tmp_path / "Rechner Ü.json"
    copied.write_bytes(home.connection_file().read_bytes())
    copied.chmod(0o600)
    try:
        bpy.ops.das.connect_backend(filepath=str(copied))
        assert run_to_end().startswith("Connected with projection"), upkeep.fix
        assert home.chosen_connection() == copied and str(copied.name) in preferences_backend.backend_state()[0]
        bpy.ops.das.disconnect_backend()
        assert home.chosen_connection() is None and chosen.connection == ""
    finally:
        bpy.ops.das.stop_backend()
        assert run_to_end().startswith("The backend is stopped")


def test_the_folder_of_the_models_is_what_programs_get(chosen, tmp_path):
    chosen.models_folder = str(tmp_path)
    assert home.model_folder() == tmp_path
    chosen.models_folder = ""
    assert home.model_folder() == home.home() / "models"


def test_the_sidebar_shows_the_installation_that_its_button_has_started(chosen, das_home):
    bpy.ops.das.install_backend()
    step_until(lambda: upkeep.progress.phase == "environment")
    layout = Layout()
    sidebar._draw_state(layout, bpy.context)
    assert "Environment 0/3" in layout.seen and "das.cancel_upkeep" in layout.seen
    upkeep.cancel()
    run_to_end()
