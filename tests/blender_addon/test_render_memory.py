"""A render asks the backend for the memory that it keeps."""

import sys
from pathlib import Path

import bpy
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from diffusion_as_shader.blender_addon import render_memory  # noqa: E402
from diffusion_as_shader.blender_addon.runner import runner  # noqa: E402
from diffusion_as_shader.shared import backend_process, client, home  # noqa: E402
from diffusion_as_shader.shared.errors import BackendError  # noqa: E402


@pytest.fixture
def asked(monkeypatch):
    """What the backend has answered, and the handler in place."""
    answers, ask = [], client.Client.release_memory
    monkeypatch.setattr(client.Client, "release_memory", lambda self, timeout: answers.append(ask(self, timeout)))
    render_memory.register()
    yield answers
    render_memory.unregister()


@pytest.fixture
def backend():
    if not home.environments("backend"):
        pytest.skip("environments.json names no backend environment")
    with client.connect(backend_process.ensure_backend(), "test") as peer:
        yield peer
        peer.shutdown()


def render() -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.resolution_x = scene.render.resolution_y = 16
    scene.camera = bpy.data.objects.new("Camera", bpy.data.cameras.new("Camera"))
    scene.collection.objects.link(scene.camera)
    bpy.ops.render.render()


def test_a_render_asks_for_the_memory(asked, backend):
    render()
    assert asked == [True]


def test_a_render_of_our_own_job_does_not(asked, backend, monkeypatch):
    monkeypatch.setattr(runner, "jobs", [object()])
    render()
    assert asked == []


def test_without_a_backend_nothing_is_started(asked):
    render()
    assert asked == [] and backend_process.find_backend() is None


def test_a_backend_that_does_not_answer_holds_up_no_render(asked, backend, monkeypatch, capsys):
    def silent(self, timeout):
        raise BackendError("The backend does not answer.", "Run it again.")

    monkeypatch.setattr(client.Client, "release_memory", silent)
    render()
    assert "The backend does not answer." in capsys.readouterr().out
