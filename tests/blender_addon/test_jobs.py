"""The whole way from scene to strip, a step at a time, with a real backend."""

import time
import tracemalloc

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import sequencer, take_jobs
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.jobs import Job
from diffusion_as_shader.shared import home
from diffusion_as_shader.shared.errors import Cancelled, SceneError, UsageError
from diffusion_as_shader.shared.take import Take
from diffusion_as_shader.shared.timeline import strip_elements

from .scenes import REQUEST, moving_cube

SECONDS = 120


@pytest.fixture
def scene():
    return moving_cube()


def step_until(job, reached) -> None:
    """Step a job until something is so."""
    end = time.monotonic() + SECONDS
    while not reached():
        assert job.step() and time.monotonic() < end


def run_to_end(job) -> None:
    end = time.monotonic() + SECONDS
    while job.step():
        assert time.monotonic() < end


def pictures(folder):
    return sorted(file.name for file in folder.glob("*")) if folder.exists() else []


ALL = [f"{number:04d}.png" for number in range(1, 10)]


def test_from_scene_to_strip(scene, backend, tmp_path):
    steps = []
    job = Job(scene, REQUEST, tmp_path / "take", strip_scene=scene, tell=steps.append, patience=0.1)
    run_to_end(job)
    take = Take.open(tmp_path / "take", BlenderImages())
    assert take.record.state == "done" and not take.missing_frames() and take.video.exists()
    assert {"blender"} < set(take.record.versions) and {"tracking", "first_frame"} == set(take.record.hashes)
    assert {"capture", "tracking", "first frame", "signals", "generation", "video"} <= set(take.record.timings)
    assert [(step.step, step.total) for step in steps if step.phase == "video"] == [(done, 9 if done else 1) for done in range(10)]
    phases = list(dict.fromkeys(step.phase for step in steps))
    assert phases[:4] == ["capture", "first frame", "tracking", "signals"] and phases[-1] == "video"
    strip = sequencer.find_strip(scene, take.folder / "frames")
    wanted = [f"{index + 1:04d}.png" for index in strip_elements(1, 12, 9)]
    assert [element.filename for element in strip.elements] == wanted and len(wanted) == 12
    first = take.read_first_frame().astype(int)
    assert np.abs(take.images.read(take.frame_file(0)) - first).mean() < 1, "result 0 is the first frame"
    assert (scene.frame_current, scene.render.resolution_x) == (5, 1920)
    assert [one.name for one in bpy.data.scenes] == [scene.name]


def test_the_strip_grows_while_results_arrive(scene, backend, tmp_path, monkeypatch):
    monkeypatch.setattr(take_jobs, "SECONDS_BETWEEN_GROWTHS", 0.0)
    job = Job(scene, REQUEST, tmp_path / "take", strip_scene=scene, patience=0.1)
    lengths = []
    while job.step():
        strip = sequencer.find_strip(scene, tmp_path / "take" / "frames")
        lengths.append(len(strip.elements) if strip else 0)
        arrived = len(pictures(tmp_path / "take" / "frames"))
        assert not strip or len({element.filename for element in strip.elements}) <= arrived
    assert lengths[-1] == 12 and len(set(lengths)) > 3


def test_preview_needs_no_first_frame_and_no_backend(scene, tmp_path):
    job = Job(scene, REQUEST, tmp_path / "take", "preview", strip_scene=scene)
    run_to_end(job)
    strip = sequencer.find_strip(scene, tmp_path / "take" / "tracking")
    assert len(strip.elements) == 12
    assert job.take.record.state == "prepared" and not (tmp_path / "take" / "first_frame.png").exists()


def test_track_prepares_a_take(scene, tmp_path):
    job = Job(scene, REQUEST, tmp_path / "take", "track")
    take = job.run()
    assert take.record.state == "prepared"
    signals = take.read_signals()
    assert set(signals) == {"tracking", "valid", "rest", "object", "depth", "first_frame", "K", "world_to_camera"}
    assert signals["tracking"].any() and signals["valid"].any()
    assert not (scene.sequence_editor and scene.sequence_editor.strips)


def test_memory_does_not_grow_with_the_shot(scene, tmp_path):
    """Eight times as many frames, whose signals would take 30 MB more."""
    peaks = []
    for frames in (9, 73):
        request = msgspec.structs.replace(REQUEST, width=192, height=128, frames=frames, write=("depth", "flow", "tracks"), points="10x10")
        tracemalloc.start()
        Job(scene, request, tmp_path / str(frames), "track").run()
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < peaks[0] + 3e6


def test_cancel_in_mid_generation_keeps_what_has_arrived(scene, backend, tmp_path):
    long = msgspec.structs.replace(REQUEST, frames=49)  # so that the backend is not done before it hears of it
    job = Job(scene, long, tmp_path / "take", strip_scene=scene)
    frames = tmp_path / "take" / "frames"
    step_until(job, lambda: pictures(frames))
    job.cancel()
    with pytest.raises(Cancelled):
        run_to_end(job)
    take = Take.open(tmp_path / "take", BlenderImages())
    assert take.record.state == "cancelled" and not take.video.exists()
    kept = pictures(frames)
    assert 0 < len(kept) < 49 and kept == [f"{number:04d}.png" for number in range(1, len(kept) + 1)]


@pytest.mark.parametrize("reached", ["tracking/0002.png", "first_frame.png"])
def test_cancel_before_the_backend(scene, tmp_path, reached):
    job = Job(scene, REQUEST, tmp_path / "take")
    step_until(job, lambda: (tmp_path / "take" / reached).exists())
    job.cancel()
    with pytest.raises(Cancelled):
        run_to_end(job)
    assert Take.open(tmp_path / "take", BlenderImages()).record.state == "cancelled"


def test_close_in_mid_generation(scene, backend, tmp_path):
    job = Job(scene, REQUEST, tmp_path / "take", strip_scene=scene)
    step_until(job, lambda: pictures(tmp_path / "take" / "frames"))
    job.close()
    assert Take.open(tmp_path / "take", BlenderImages()).record.state == "cancelled"
    assert not job.step()


def test_a_scene_that_cannot_be_used_leaves_no_take(scene, tmp_path):
    scene.camera = None
    with pytest.raises(SceneError):
        Job(scene, REQUEST, tmp_path / "take", "track").run()
    assert not (tmp_path / "take").exists()


def test_an_image_of_another_size_is_said_before_anything_is_captured(scene, tmp_path):
    from diffusion_as_shader.shared.request import FirstFrame

    BlenderImages().write(tmp_path / "small.png", np.zeros((8, 8, 3), np.uint8))
    request = msgspec.structs.replace(REQUEST, first_frame=FirstFrame(source="file", path=str(tmp_path / "small.png")))
    steps = []
    with pytest.raises(UsageError, match="8x8"):
        Job(scene, request, tmp_path / "take", "track", tell=steps.append).run()
    assert {step.step for step in steps} == {0}
    assert not (tmp_path / "take").exists()


def test_a_scene_removed_in_mid_job(scene, tmp_path):
    job = Job(scene, REQUEST, tmp_path / "take", "track")
    job.step()
    bpy.data.scenes.new("other")
    bpy.data.scenes.remove(scene)
    with pytest.raises(SceneError, match="removed"):
        run_to_end(job)


def test_no_backend_is_told_and_kept_in_the_take(scene, tmp_path, das_home):
    home.environments_file().unlink(missing_ok=True)
    from diffusion_as_shader.shared.errors import BackendError

    with pytest.raises(BackendError, match="No backend is installed"):
        Job(scene, REQUEST, tmp_path / "take").run()
    record = Take.open(tmp_path / "take", BlenderImages()).record
    assert record.state == "failed" and record.failure.kind == "backend" and record.failure.fix
