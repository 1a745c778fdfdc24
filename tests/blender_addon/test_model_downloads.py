"""Weights from Preferences, as an artist gets them: listed, fetched, paused, gone on with and removed, by the operators.

The hub is a stand-in on loopback; the program is `das models` in the model's own Python.
"""

import sys
import time
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

sys.path.insert(0, str(Path(__file__).parents[1] / "model"))

from stand_in_hub import MEGABYTE, StandInHub  # noqa: E402

from diffusion_as_shader import blender_addon  # noqa: E402
from diffusion_as_shader.blender_addon import preferences, properties  # noqa: E402
from diffusion_as_shader.blender_addon.upkeep import upkeep  # noqa: E402
from diffusion_as_shader.shared import home  # noqa: E402

from .panel_layout import Layout  # noqa: E402

SECONDS = 180
WEIGHTS = "transformer/diffusion_pytorch_model.safetensors"
SIZE = 30 * MEGABYTE  # the hub's program tells its progress each 10 MB, just before it writes them


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub, with weights of the published layout; nothing that lies elsewhere on this machine is found."""
    folder = tmp_path / "served"
    for name, content in ((WEIGHTS, bytes(range(250)) * (SIZE // 250)), ("transformer/config.json", b"{}"), ("model_index.json", b"{}")):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    standing = StandInHub(folder)
    monkeypatch.setenv("HF_ENDPOINT", standing.endpoint)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "other programs"))
    yield standing
    standing.stop()


@pytest.fixture
def chosen(das_home, tmp_path, monkeypatch):
    """The preferences of the enabled add-on, which may go online and keeps weights in a folder of its own."""
    serving = home.environments("backend")
    if not serving or serving[0].name != home.MODEL_ENVIRONMENT:
        pytest.skip("needs the model's environment: python3 install/run.py setup --model")
    if hasattr(bpy.types.Scene, "das"):
        properties.unregister()
    monkeypatch.setenv("DAS_MODELS", "")
    entry = bpy.context.preferences.addons.new()
    entry.module = preferences.ADDON
    blender_addon.register()
    bpy.context.preferences.system.use_online_access = True
    own = preferences.own_preferences()
    own.models_folder = str(tmp_path / "Gewichte für Übung")
    yield own
    upkeep.close()
    own.models_folder = ""
    blender_addon.unregister()
    bpy.context.preferences.addons.remove(entry)
    bpy.context.preferences.system.use_online_access = False


def step_until(reached) -> None:
    end = time.monotonic() + SECONDS
    while not reached():
        assert upkeep.step(), upkeep.message
        assert time.monotonic() < end
        time.sleep(0.01)


def ends_with() -> str:
    """What Preferences say at the end, with what to do."""
    end = time.monotonic() + SECONDS
    while upkeep.step():
        assert time.monotonic() < end
        time.sleep(0.01)
    return f"{upkeep.message} {upkeep.fix}".strip()


def published(hub):
    """The first in the list, as what the hub serves."""
    bpy.ops.das.list_models()
    assert ends_with() == ""
    hub.name = upkeep.models.models[0].name
    return upkeep.models.models[0]


def entry():
    return upkeep.models.models[0]


def drawn(chosen) -> list[str]:
    layout = Layout()
    chosen.draw_models(layout, bpy.context)
    chosen.draw_backend(layout, bpy.context)
    return layout.seen


def test_a_download_is_paused_goes_on_where_it_was_and_is_removed(chosen, hub):
    model = published(hub).name
    assert not entry().folder and not entry().partial
    hub.seconds_a_megabyte = 0.2
    bpy.ops.das.pull_model(model=model)
    step_until(lambda: upkeep.progress.step >= 20)
    assert upkeep.work.cancel_word == "Pause" and upkeep.progress.total == 30
    bpy.ops.das.cancel_upkeep()
    assert ends_with() == f"The download of {model} pauses, and goes on where it is."
    assert not upkeep.failed and not entry().folder and 10 * MEGABYTE <= entry().partial < SIZE
    assert "das.pull_model" in drawn(chosen) and "das.remove_model" in drawn(chosen)

    partial, hub.seconds_a_megabyte, hub.status = entry().partial, 0, 503
    bpy.ops.das.pull_model(model=model)
    assert "answers with code 503. Check the network and run it again" in ends_with() and upkeep.failed
    assert entry().partial == partial and "das.copy_report" in drawn(chosen)

    hub.status = 200
    bpy.ops.das.pull_model(model=model)
    assert ends_with() == f"{model} is here, and every file has the hash that the hub states."
    name, range_ = hub.ranges[-1]
    assert name == WEIGHTS and int(range_.removeprefix("bytes=").rstrip("-")) >= 10 * MEGABYTE
    assert Path(entry().folder).is_relative_to(chosen.models_folder) and not entry().partial
    assert (Path(entry().folder) / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()

    bpy.ops.das.remove_model(model=model)
    assert ends_with() == f"{model} is removed."
    assert not entry().folder and not list(Path(chosen.models_folder).rglob("*.safetensors"))


def test_what_arrives_damaged_is_never_used(chosen, hub):
    model, hub.spoil = published(hub).name, WEIGHTS
    bpy.ops.das.pull_model(model=model)
    said = ends_with()
    assert upkeep.failed and "has arrived damaged: its hash is not the hub's" in said and upkeep.fix
    assert not entry().folder and "das.copy_report" in drawn(chosen)
    hub.spoil = ""
    bpy.ops.das.pull_model(model=model)
    assert ends_with() == f"{model} is here, and every file has the hash that the hub states."
