"""Backends for tests in Blender."""

import os
import time
from pathlib import Path

import pytest

from diffusion_as_shader.shared import backend_process, home

SECONDS = 60
PATTERNS = Path(__file__).parents[1] / "backend"


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
