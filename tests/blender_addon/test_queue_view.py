"""The queue: what the backend has, moved, cancelled, tried again, and gone on with after another file was open."""

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader import blender_addon
from diffusion_as_shader.blender_addon import properties, queue_view, sequencer
from diffusion_as_shader.blender_addon.history import history
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.panels.live_preview import DAS_PT_live_preview
from diffusion_as_shader.blender_addon.panels.queue import DAS_PT_queue
from diffusion_as_shader.blender_addon.queue_view import queue
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.shared import backend_process
from diffusion_as_shader.shared.take import Take

from .panel_layout import drawn as all_drawn


@pytest.fixture
def scene(saved_scene, monkeypatch):
    """A saved file whose engine is the one for tests."""
    monkeypatch.setattr(properties, "engine_of", lambda scene: "test_pattern")
    return saved_scene


def drawn() -> list[str]:
    return all_drawn((DAS_PT_live_preview, DAS_PT_queue))


def tick() -> None:
    """What the timers do in a window."""
    runner.step()
    queue.step()


def record(tmp_path, number):
    return Take.open(tmp_path / "das" / f"shot-00{number}", BlenderImages()).record


def generate(scene, prompt) -> None:
    scene.das.prompt = prompt
    assert bpy.ops.das.generate() == {"FINISHED"}


def states() -> dict[str, str]:
    return {info.title: info.state for info in queue.jobs}


def waiting() -> list[str]:
    return [info.title for info in queue.jobs if info.state == "queued"]


def all_are_queued():
    return len(waiting()) == 2 and "running" in states().values()


def queue_three(scene, until) -> None:
    generate(scene, "previews=1000 pause=0.05")
    generate(scene, "sleep=0.02")
    generate(scene, "sleep=0.01")
    until(all_are_queued, tick)


def test_generations_queue_up_and_are_moved_and_cancelled(scene, pattern_backend, until, tmp_path):
    queue_three(scene, until)
    assert states()["shot-001"] == "running" and waiting() == ["shot-002", "shot-003"] and not runner.uses_scene
    history.read()
    until(lambda: any(text.startswith("Denoise ") for text in drawn()), tick)
    seen = drawn()
    assert seen.count("das.cancel_queued") == 3 and seen.count("das.move_queued") == 2 and seen.count("Waits") == 2
    assert "das.keep_preview" in seen
    bpy.ops.das.move_queued(job=record(tmp_path, 3).job, position=0)
    until(lambda: waiting() == ["shot-003", "shot-002"], tick)
    for number in (1, 2):
        bpy.ops.das.cancel_queued(folder=str(tmp_path / "das" / f"shot-00{number}"))
    until(lambda: not runner.running, tick)
    assert [record(tmp_path, number).state for number in (1, 2, 3)] == ["cancelled", "cancelled", "done"]
    history.read()
    until(lambda: states()["shot-003"] == "done", tick)
    assert [entry.name for entry in queue_view.ended()] == ["shot-002", "shot-001"] and "das.resume_take" in drawn()
    bpy.ops.das.resume_take(folder=str(tmp_path / "das" / "shot-002"))
    until(lambda: not runner.running, tick)
    assert record(tmp_path, 2).state == "done"


def test_jobs_go_on_while_another_file_is_open(scene, pattern_backend, until, tmp_path):
    generate(scene, "sleep=0.15")
    frames = tmp_path / "das" / "shot-001" / "frames"
    until(lambda: (frames / "0002.png").exists() and queue.connected, tick)
    bpy.ops.wm.save_mainfile()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not runner.running and record(tmp_path, 1).state == "running"
    until(lambda: states() == {"shot-001": "done"}, tick)
    assert not runner.running and not (frames / "0009.png").exists()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "shot.blend"))
    history.read()
    until(lambda: record(tmp_path, 1).state == "done", tick)
    strip = sequencer.find_strip(bpy.context.scene, frames)
    assert len(strip.elements) == 12 and [one.name for one in bpy.context.scene.sequence_editor.strips] == ["shot-001"]


def test_a_take_that_was_left_is_offered_and_goes_on_with_the_next_backend(scene, pattern_backend, until, tmp_path):
    generate(scene, "sleep=0.1")
    frames = tmp_path / "das" / "shot-001" / "frames"
    until(lambda: (frames / "0003.png").exists() and queue.connected, tick)
    blender_addon.unregister()  # as Blender does when it quits
    until(lambda: backend_process.find_backend() is None)
    blender_addon.register()
    assert record(tmp_path, 1).state == "running" and not runner.running
    job, third = record(tmp_path, 1).job, (frames / "0003.png").stat().st_mtime_ns
    history.read()
    assert [entry.name for entry in queue_view.ended()] == ["shot-001"]
    bpy.ops.das.resume_take(folder=str(frames.parent))
    until(lambda: not runner.running, tick)
    assert (record(tmp_path, 1).state, record(tmp_path, 1).job) == ("done", job)
    assert (frames / "0003.png").stat().st_mtime_ns == third, "what was there is not made again"


def test_a_backend_that_is_killed_is_no_longer_listed(scene, pattern_backend, until, tmp_path):
    generate(scene, "sleep=0.01")
    until(lambda: states().get("shot-001") == "done" and not runner.running, tick)
    backend_process.stop_backend()
    until(lambda: not queue.connected, queue.step)
    assert queue.jobs == [] and not queue.step()


def test_only_ours_is_attached_again(scene, pattern_backend, until, tmp_path, monkeypatch):
    generate(scene, "sleep=0.4")
    until(lambda: states().get("shot-001") == "running", tick)
    job = runner.jobs.pop()
    history.read()
    assert history.of_job(record(tmp_path, 1).job)
    monkeypatch.setattr(queue_view.os, "getpid", lambda: 1)
    until(lambda: states()["shot-001"] == "done", queue.step)
    assert not runner.jobs, "another program's"
    monkeypatch.undo()
    monkeypatch.setattr(properties, "engine_of", lambda scene: "test_pattern")
    runner.jobs.append(job)
    until(lambda: not runner.running, tick)
    assert record(tmp_path, 1).state == "done"
