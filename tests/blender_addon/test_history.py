"""The takes of a .blend: found, searched, shown, re-applied, resumed, compared, deleted."""

import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import properties, sequencer
from diffusion_as_shader.blender_addon.history import history
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.operators.history import DAS_FH_take, DAS_FH_video
from diffusion_as_shader.blender_addon.panels.first_frame import DAS_PT_first_frame
from diffusion_as_shader.blender_addon.panels.history import is_shown
from diffusion_as_shader.blender_addon.panels.tasks import DAS_PT_video
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.shared.request import FirstFrame
from diffusion_as_shader.shared.take import Take

from .panel_layout import drawn
from .scenes import REQUEST


@pytest.fixture
def scene(saved_scene):
    return saved_scene


@pytest.fixture
def takes(tmp_path):
    """Two done takes, the second of another range, and one that is captured only."""
    made = [make_take(tmp_path / "das" / f"shot-00{number}", number) for number in (1, 2, 3)]
    make_take(tmp_path / "das" / "other-001", 1)
    history.read()
    return made


def make_take(folder, number) -> Take:
    request = msgspec.structs.replace(REQUEST, prompt=f"a red fox {number}", seed=number, start=number, end=11 + number, width=48, height=32)
    take = Take.create(folder, request, BlenderImages())
    take.record.created = f"2026-01-0{number}T00:00:00+00:00"
    take.write_first_frame(np.full((32, 48, 3), 40 * number, np.uint8))
    for index in range(9):
        take.write_tracking_frame(index, np.full((32, 48, 3), index, np.uint8))
        if number < 3:
            take.write_frame(index, np.full((32, 48, 3), 40 * number + index, np.uint8))
    take.set_state("done" if number < 3 else "running")
    return take


def shown():
    return bpy.context.window_manager.das_history


def choose(name) -> None:
    shown().index = list(history.entries).index(name)


def test_the_takes_of_this_file_are_listed_newest_first(scene, takes, tmp_path):
    assert list(history.entries) == ["shot-003", "shot-002", "shot-001"] == [one.name for one in shown().takes]
    assert shown().entry.name == "shot-003" and shown().entry.picture.file == takes[2].folder / "first_frame.png"
    choose("shot-001")
    take = make_take(tmp_path / "das" / "named-by-hand", 4)
    take.record.scene = bpy.data.filepath
    take.save()
    history.read()
    assert list(history.entries)[0] == "named-by-hand" and shown().chosen == "shot-001", "the choice stays"
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not history.entries and not shown().takes


def test_only_what_has_changed_is_read_again(scene, takes):
    before = dict(history.entries)
    takes[1].note("changed")
    takes[1].save()
    history.read()
    kept = [name for name, entry in history.entries.items() if entry is before[name]]
    assert kept == ["shot-003", "shot-001"] and history.entries["shot-002"].record.notes == ["changed"]


def test_a_panel_reads_nothing(scene, takes, monkeypatch):
    shutil.rmtree(takes[2].folder)
    with monkeypatch.context() as nothing_can_be_looked_at:
        nothing_can_be_looked_at.setattr("pathlib.Path.stat", None)
        seen = drawn()
    assert "das.resume_take" in seen and "shot-003: running" in seen and "das.compare_takes" in seen


def test_words_and_stars_search(scene, takes):
    def found():
        return [name for name in history.entries if is_shown(shown(), name)]

    shown().search = "FOX 2"
    assert found() == ["shot-002"]
    shown().search = ""
    assert bpy.ops.das.favourite_take(folder=str(takes[0].folder)) == {"FINISHED"}
    shown().favourites = True
    assert found() == ["shot-001"] and (takes[0].folder / "favourite").exists()
    bpy.ops.das.favourite_take(folder=str(takes[0].folder))
    assert found() == []
    shown().favourites = False


def test_settings_come_back_from_the_list_and_from_a_dropped_file(scene, takes, tmp_path):
    bpy.ops.das.apply_take()
    assert properties.request_of(scene).seed == 3 and scene.das.prompt == "a red fox 3"
    for file, number in ((takes[0].folder / "take.json", 1), (takes[1].folder / "video.mp4", 2), (takes[0].frame_file(0), 1)):
        assert bpy.ops.das.apply_take(filepath=str(file)) == {"FINISHED"}
        again = properties.request_of(scene)
        assert msgspec.structs.replace(again, scene_fps=24.0) == takes[number - 1].record.request
    assert again.first_frame == FirstFrame(source="workbench")
    with pytest.raises(RuntimeError, match="belongs to no take"):
        bpy.ops.das.apply_take(filepath=str(tmp_path / "some.mp4"))


def test_only_what_can_be_a_takes_is_taken_when_it_is_dropped(scene, takes):
    viewport = SimpleNamespace(area=SimpleNamespace(type="VIEW_3D"))
    for handler, operator, ending in ((DAS_FH_take, "das.apply_take", ".json"), (DAS_FH_video, "das.drop_video", ".mp4")):
        assert (handler.bl_import_operator, handler.bl_file_extensions) == (operator, ending)
        assert hasattr(bpy.types, handler.__name__) and handler.poll_drop(viewport)
        assert not handler.poll_drop(SimpleNamespace(area=SimpleNamespace(type="SEQUENCE_EDITOR")))
        assert not handler.poll_drop(SimpleNamespace(area=None))
    history.close()
    assert DAS_FH_take.poll_drop(viewport) and not DAS_FH_video.poll_drop(viewport), "a video of a file without takes is Blender's"


def test_a_dropped_video_of_no_take_is_what_blender_makes_of_it(scene, takes, tmp_path):
    images = BlenderImages()
    images.write_video(tmp_path / "some.mp4", [takes[0].tracking_file(index) for index in range(9)], 24)
    before = properties.request_of(scene)
    window = bpy.context.window_manager.windows[0]
    area = next(area for area in window.screen.areas if area.type == "VIEW_3D")
    region = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window, area=area, region=region):
        assert bpy.ops.das.drop_video(filepath=str(tmp_path / "some.mp4")) == {"FINISHED"}
    made = bpy.context.object
    assert made.type == "EMPTY" and Path(bpy.path.abspath(made.data.filepath)) == tmp_path / "some.mp4"
    assert properties.request_of(scene) == before
    assert bpy.ops.das.drop_video(filepath=str(takes[0].folder / "video.mp4")) == {"FINISHED"}
    assert properties.request_of(scene).seed == 1


def test_a_take_becomes_a_strip(scene, takes):
    choose("shot-002")
    bpy.ops.das.add_take()
    strip = sequencer.find_strip(scene, takes[1].folder / "frames")
    assert (strip.name, strip.channel, sequencer.strip_start(strip), sequencer.strip_end(strip)) == ("shot-002", 1, 2, 14)
    choose("shot-003")
    with pytest.raises(RuntimeError, match="no frames yet"):
        bpy.ops.das.add_take()


def test_two_takes_are_compared_side_by_side(scene, takes, tmp_path):
    scene.render.resolution_x, scene.render.resolution_y = 96, 64
    choose("shot-001")
    with pytest.raises(RuntimeError, match="nothing to compare"):
        bpy.ops.das.compare_takes()
    shown().other = "shot-002"
    below = sequencer.add_take(scene, takes[1].folder, takes[0].record.request)
    bpy.ops.das.compare_takes()
    strips = sorted(scene.sequence_editor.strips, key=lambda strip: strip.channel)
    assert strips[0] == below
    assert [(one.name, sequencer.strip_start(one)) for one in strips[1:]] == [("shot-001", 1), ("shot-002.001", 1)]
    scene.render.filepath, scene.frame_current = str(tmp_path / "both.png"), 1
    bpy.ops.render.render(write_still=True)
    both = BlenderImages().read(tmp_path / "both.png")
    wanted = np.zeros((64, 96), np.uint8)
    wanted[16:48, :48], wanted[16:48, 48:] = 40, 80
    assert (both[..., 0] == wanted).all()


@pytest.fixture
def trash(tmp_path, monkeypatch):
    """A trash for one test."""
    linux = pytest.importorskip("send2trash.plat_other", reason="another system's trash is the user's own")
    folder = os.fsencode(tmp_path / "data")
    for name, value in (("XDG_DATA_HOME", folder), ("HOMETRASH_B", folder + b"/Trash")):
        monkeypatch.setattr(linux, name, value)


def test_delete_moves_to_the_trash(scene, takes, tmp_path, trash):
    choose("shot-001")
    bpy.ops.das.delete_take()
    assert not takes[0].folder.exists() and "shot-001" not in history.entries
    assert list((tmp_path / "data").rglob("shot-001/take.json"))


def test_a_strip_that_stays_never_shows_another_take(scene, takes, trash):
    sequencer.add_take(scene, takes[1].folder, takes[1].record.request)
    for name in ("shot-003", "shot-002"):
        choose(name)
        bpy.ops.das.delete_take()
    bpy.ops.das.preview_tracking()
    try:
        assert runner.job.folder.name == "shot-003"
    finally:
        runner.close()


def test_resume_goes_on_without_the_scene(scene, takes, pattern_backend, until, tmp_path):
    with pytest.raises(RuntimeError, match="captured"):
        takes[2].tracking_file(8).unlink()
        bpy.ops.das.resume_take(folder=str(takes[2].folder))
    takes[2].write_tracking_frame(8, np.full((32, 48, 3), 8, np.uint8))
    takes[2].record.request = msgspec.structs.replace(takes[2].record.request, engine="test_pattern")
    takes[2].write_frame(0, np.full((32, 48, 3), 9, np.uint8))
    takes[2].save()
    assert bpy.ops.das.resume_take() == {"FINISHED"} and not runner.uses_scene
    with pytest.raises(RuntimeError, match="at work already"):
        bpy.ops.das.resume_take()
    with pytest.raises(RuntimeError, match="Cancel it first"):
        bpy.ops.das.delete_take()
    until(lambda: not runner.step(), lambda: None)
    assert (runner.failed, runner.message) == (False, "shot-003 is ready.")
    take = Take.open(takes[2].folder, BlenderImages())
    assert take.record.state == "done" and take.video.exists()
    assert len(sequencer.find_strip(scene, take.folder / "frames").elements) == 12


def test_the_first_frame_box_shows_the_newest_that_was_made_so(scene, takes):
    def seen() -> list[str]:
        return [each for each in drawn((DAS_PT_first_frame,)) if each == "icon" or each.startswith("As made")]

    scene.das.first_frame = "workbench"
    assert seen() == ["icon", "As made for shot-003"]
    scene.das.first_frame = "render"
    assert seen() == []
    scene.das.first_frame, scene.das.first_frame_path = "file", str(takes[0].folder / "first_frame.png")
    assert seen() == ["icon"]
    scene.das.first_frame_path = "//gone.png"
    assert seen() == []


def test_the_look_of_another_task_is_shown(scene, takes):
    scene.das.task, scene.das.tasks.video = "motion_transfer", "file"
    assert "icon" not in drawn((DAS_PT_video,))
    scene.das.tasks.look = str(takes[0].folder / "first_frame.png")
    assert "icon" in drawn((DAS_PT_video,))
