"""Renders of ours: at once, or as Blender's own job. The job's window is a stand-in: a module has none."""

from contextlib import contextmanager
from types import SimpleNamespace

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import render_job, runner, stepwise
from diffusion_as_shader.blender_addon.render_job import Render, at_once
from diffusion_as_shader.blender_addon.stepwise import Stepwise
from diffusion_as_shader.shared.errors import Cancelled, SceneError


class Window:
    """Blender with a window, as far as renders see it. ``begun`` are the options of each job, ``shown_in`` where its picture
    would be shown."""

    def __init__(self):
        self.begun, self.shown_in, self.timers, self.rendering = [], [], [], False
        self.view = SimpleNamespace(render_display_type="WINDOW")
        self.data = bpy.data
        self.ops = SimpleNamespace(render=SimpleNamespace(render=self._render))
        self.app = SimpleNamespace(
            background=False,
            is_job_running=lambda kind: self.rendering,
            handlers=SimpleNamespace(render_complete=[]),
            timers=SimpleNamespace(register=lambda function, **_: self.timers.append(function)),
        )
        self.context = SimpleNamespace(
            preferences=SimpleNamespace(view=self.view, is_dirty=False),
            window_manager=SimpleNamespace(windows=["first", "second"]),
            temp_override=self._override,
        )

    @contextmanager
    def _override(self, **_):
        yield

    def _render(self, how, **options):
        assert how == "INVOKE_DEFAULT" and bpy.data.scenes[options["scene"]].render.use_lock_interface
        self.begun.append(options)
        self.shown_in.append(self.view.render_display_type)
        self.rendering = True
        return {"RUNNING_MODAL"}

    def end(self, completed: bool) -> None:
        self.rendering = False
        for handler in self.app.handlers.render_complete if completed else ():
            handler(None)


class Twice(Stepwise):
    """Two renders of one scene, which is gone again afterwards."""

    ready = "Ready."

    def _run(self):
        self.made = yield from self._rendered(renders(2))


def renders(count: int):
    scene = bpy.data.scenes.new("render me")
    try:
        for _ in range(count):
            yield from Render(scene, scene)
        return count
    finally:
        remove_all()


@pytest.fixture
def window(monkeypatch) -> Window:
    window = Window()
    for module in (render_job, stepwise):
        monkeypatch.setattr(module, "bpy", window)
    return window


@pytest.fixture
def work(window) -> Twice:
    """Until its first render runs."""
    work = Twice(lambda step: None)
    while not window.rendering:
        assert work.step()
    yield work
    window.rendering = False
    work.close()


def is_there() -> bool:
    return any(scene.name.startswith("render me") for scene in bpy.data.scenes)


def remove_all() -> None:
    for scene in [each for each in bpy.data.scenes if each.name.startswith("render me")]:
        bpy.data.scenes.remove(scene)


def test_a_job_ends_between_steps(window, work):
    assert work.renders and work.step() and work.step(), "nothing to do as long as it renders"
    window.end(completed=True)
    while not window.rendering:
        assert work.step()
    assert len(window.begun) == 2
    window.end(completed=True)
    assert not work.step() and work.made == 2 and not work.renders
    assert not is_there() and window.app.handlers.render_complete == []


def test_its_picture_is_shown_nowhere_and_preferences_stay(window, work):
    assert window.shown_in == ["NONE"] and window.view.render_display_type == "WINDOW"
    assert window.context.preferences.is_dirty is False


def test_escape_cancels_the_work(window, work):
    window.end(completed=False)
    with pytest.raises(Cancelled):
        work.step()
    assert not is_there() and window.app.handlers.render_complete == []


def test_a_cancel_is_heard_when_the_render_has_ended(window, work):
    work.cancel()
    assert work.step() and is_there()
    window.end(completed=True)
    with pytest.raises(Cancelled):
        work.step()
    assert len(window.begun) == 1 and not is_there()


def test_what_is_rendered_stays_until_that_has_ended(window, work):
    work.close()
    assert is_there(), "Blender would render what is gone"
    (later,) = window.timers
    assert later() and is_there()
    window.end(completed=False)
    assert later() is None and not is_there()


def test_an_undo_in_between_is_told(window, work):
    window.end(completed=True)
    remove_all()
    with pytest.raises(SceneError, match="was changed while it was rendered"):
        work.step()


def test_the_runner_draws_and_waits_meanwhile(window, work, monkeypatch):
    drawn, running = [], runner.Runner()
    monkeypatch.setattr(runner, "bpy", window)
    monkeypatch.setattr(runner, "redraw_sidebars", lambda: drawn.append(1))
    running.jobs.append(work)
    assert running.renders and running._tick() == runner.SECONDS_WHILE_IT_RENDERS_FOR_US and drawn
    running.jobs.clear()
    assert running._tick() == runner.SECONDS_WHILE_BLENDER_RENDERS, "a render of the user's own"


def test_at_once_in_the_background():
    scene, count = bpy.context.scene, len(bpy.data.scenes)
    scene.render.engine, scene.camera = "BLENDER_WORKBENCH", None
    with pytest.raises(RuntimeError, match="camera"):
        at_once(renders(1))
    assert len(bpy.data.scenes) == count
    work = Twice(lambda step: None)
    with pytest.raises(RuntimeError, match="camera"):
        while work.step():
            pass
    assert len(bpy.data.scenes) == count


def test_a_brief_one_takes_a_step_and_locks_nothing(window):
    called = []
    window.ops.render.render = lambda **options: called.append(options)
    scene = bpy.data.scenes.new("brief")

    class Brief(Stepwise):
        ready = "Ready."

        def _run(self):
            yield from self._rendered(iter_of(Render(scene, scene, brief=True)))

    work = Brief(lambda step: None)
    assert work.step() and len(called) == 1 and not scene.render.use_lock_interface
    assert not work.step()
    bpy.data.scenes.remove(scene)


def iter_of(render: Render):
    yield from render
