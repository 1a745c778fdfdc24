"""Variations of one Generate: they differ in their seed, and share what was captured."""

import shutil
import time

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import jobs
from diffusion_as_shader.blender_addon.capture.geometry import capturing
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.shared.take import Take

SECONDS = 120


@pytest.fixture
def scene(saved_scene):
    saved_scene.das.lock_seed, saved_scene.das.variations = True, 2
    return saved_scene


def run_to_end() -> None:
    """What the timer does in a window."""
    end = time.monotonic() + SECONDS
    while runner.step():
        assert time.monotonic() < end


@pytest.fixture
def captures(monkeypatch) -> list:
    """One for each time that the scene was captured."""
    made = []

    def counting(*args, **options):
        made.append(args)
        return capturing(*args, **options)

    monkeypatch.setattr(jobs, "capturing", counting)
    return made


def test_variations_share_one_capture_and_each_is_whole(scene, backend, captures, tmp_path):
    scene.das.write = {"depth"}
    bpy.ops.das.generate()
    run_to_end()
    assert not runner.failed and len(captures) == 1
    first, second = (Take.open(tmp_path / "das" / f"shot-00{number}", BlenderImages()) for number in (1, 2))
    assert [take.record.state for take in (first, second)] == ["done", "done"]
    assert (second.record.request.seed, second.record.hashes) == (first.record.request.seed + 1, first.record.hashes)
    theirs = {file.relative_to(first.folder) for file in first.folder.rglob("*")}
    assert {file.relative_to(second.folder) for file in second.folder.rglob("*")} == theirs
    shutil.rmtree(first.folder)
    assert second.read_signals()["rest"].any() and len(list((second.folder / "depth").glob("*.exr"))) == 9


def test_a_variation_captures_where_the_one_before_was_cancelled(scene, backend, captures, tmp_path):
    bpy.ops.das.generate()
    runner.cancel(runner.jobs[0])
    run_to_end()
    assert len(captures) == 1 and Take.open(tmp_path / "das" / "shot-002", BlenderImages()).record.state == "done"


def test_variations_of_a_repaint_share_nothing(scene):
    scene.das.tasks.repaint = "sdxl"
    bpy.ops.das.generate()
    assert [job._siblings for job in runner.jobs] == [[], []]
    runner.close()
