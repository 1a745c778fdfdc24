"""The add-on, files and backends for tests in Blender."""

import os
import time
from pathlib import Path

import pytest

from diffusion_as_shader.shared import backend_process, home

SECONDS = 120
PATTERNS = Path(__file__).parents[1] / "backend"


@pytest.fixture
def addon():
    """The add-on, enabled for one test."""
    import bpy
    from diffusion_as_shader import blender_addon
    from diffusion_as_shader.blender_addon import properties
    from diffusion_as_shader.blender_addon.runner import runner

    if hasattr(bpy.types.Scene, "das"):  # a command of another test has registered the properties alone
        properties.unregister()
    blender_addon.register()
    yield
    blender_addon.unregister()
    runner.tell("")


@pytest.fixture
def saved_scene(addon, tmp_path):
    """The scene of a saved file, small and with a small request."""
    import bpy
    from diffusion_as_shader.blender_addon import properties

    from .scenes import REQUEST, moving_cube

    properties.apply_request(moving_cube(), REQUEST)
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"))
    return bpy.context.scene


@pytest.fixture
def backend():
    """A backend can be started; once the job has released it, it ends by itself."""
    if not home.environments("backend"):
        pytest.skip("environments.json names no backend environment")
    yield
    end = time.monotonic() + SECONDS
    while backend_process.find_backend() is not None:
        assert time.monotonic() < end, "nobody holds a lease, yet the backend runs"
        time.sleep(0.05)


@pytest.fixture
def pattern_backend(das_home, monkeypatch):
    """A backend can be started that has the engine test_pattern; it is stopped afterwards."""
    if not home.environments("backend"):
        pytest.skip("environments.json names no backend environment")
    monkeypatch.setenv("DAS_EXTRA_ENGINES", "test_pattern=pattern_engine:PatternEngine")
    paths = [str(PATTERNS), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(paths))
    yield
    backend_process.stop_backend()


@pytest.fixture
def until():
    """Polls until something is so, with something to do meanwhile; what was found."""

    def poll(happened, meanwhile=lambda: time.sleep(0.02), seconds: float = SECONDS):
        end = time.monotonic() + seconds
        while not (found := happened()):
            assert time.monotonic() < end, f"not within {seconds} s"
            meanwhile()
        return found

    return poll
