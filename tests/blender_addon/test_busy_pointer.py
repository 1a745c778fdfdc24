"""A step that keeps Blender waiting says how far it is, and what begins is drawn before it begins."""

from types import SimpleNamespace

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import busy_pointer
from diffusion_as_shader.blender_addon.runner import Runner
from diffusion_as_shader.blender_addon.stepwise import Stepwise


class Phases(Stepwise):
    """Three frames at once, then each of three in a step of its own."""

    ready = "Ready."

    def _run(self):
        self._report("capture", 0, 3)
        yield
        for done in range(1, 4):
            self._report("capture", done, 3)
        yield
        for done in range(1, 4):
            self._report("tracking", done, 3)
            yield


@pytest.fixture
def pointer(monkeypatch) -> list:
    """What is asked of Blender's window manager."""
    asked = []
    manager = SimpleNamespace(
        progress_begin=lambda least, most: asked.append("begin"),
        progress_update=asked.append,
        progress_end=lambda: asked.append("end"),
    )
    monkeypatch.setattr(busy_pointer, "bpy", SimpleNamespace(context=SimpleNamespace(window_manager=manager)))
    return asked


@pytest.fixture
def runner():
    runner = Runner()
    runner.start(Phases(lambda step: None))
    yield runner
    runner.close()


def test_a_long_step_shows_its_share_at_the_pointer(runner, pointer, monkeypatch):
    monkeypatch.setattr(busy_pointer, "SECONDS_BEFORE_IT_SHOWS", 0)
    runner._tick()
    pointer.clear()
    runner._tick()
    assert pointer[:5] == ["begin", 1 / 3, 2 / 3, 1, "end"]


def test_a_short_one_leaves_the_pointer_alone(runner, pointer, monkeypatch):
    monkeypatch.setattr(busy_pointer, "SECONDS_BEFORE_IT_SHOWS", 60)
    while runner.running:
        runner._tick()
    assert pointer == [] and runner.message == "Ready."


def test_each_phase_is_drawn_before_it_goes_on(runner, pointer):
    seen = []
    while runner.running:
        runner._tick()
        seen.append((runner.progress.phase, runner.progress.step))
    assert seen[:2] == [("capture", 0), ("tracking", 1)] and len(seen) <= 4
