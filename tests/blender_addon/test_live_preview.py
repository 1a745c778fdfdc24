"""The video while it is denoised: a strip and an image that play, and a generation that is stopped there."""

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import live_preview, sequencer
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.jobs import Job
from diffusion_as_shader.blender_addon.live_preview import LivePreview
from diffusion_as_shader.blender_addon.resize import enlarge
from diffusion_as_shader.shared.take import Take

from .scenes import REQUEST, moving_cube

PICTURES = np.repeat(np.uint8([40, 80, 120]), 8 * 12 * 3).reshape(3, 8, 12, 3)


@pytest.fixture
def scene():
    return moving_cube()


def pattern_job(scene, folder, prompt):
    request = msgspec.structs.replace(REQUEST, engine="test_pattern", prompt=prompt)
    return Job(scene, request, folder, strip_scene=scene)


def step(job):
    return lambda: job.step()


@pytest.fixture
def editor():
    """An Image Editor that shows nothing."""
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.ui_type = "IMAGE_EDITOR"
    area.spaces.active.image = None
    return area


def shown(editor) -> tuple[str, int]:
    """The image of an Image Editor, and the number from 0 of the picture that it shows at the scene's frame."""
    space, frame = editor.spaces.active, bpy.context.scene.frame_current
    user = space.image_user
    return space.image.name, (frame - user.frame_start) % user.frame_duration + user.frame_offset


def test_strip_and_image_show_each_preview_and_are_gone_at_the_end(scene, tmp_path, editor, pattern_backend, until):
    job = pattern_job(scene, tmp_path / "take", "previews=4 pause=0.3 sleep=0.02")
    folder = tmp_path / "take" / "preview"
    strip = until(lambda: (folder / "0003.png").exists() and sequencer.find_strip(scene, folder), step(job))
    assert [element.filename for element in strip.elements] == [f"000{n}.png" for n in (1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3)]
    seen = set()
    until(lambda: seen.add(shown(editor)) or len(seen) == 3, step(job))
    assert seen == {("take live preview", number) for number in range(3)}
    frames = tmp_path / "take" / "frames"
    above = until(lambda: sequencer.find_strip(scene, frames), step(job))
    assert above.channel == sequencer.find_strip(scene, folder).channel + 1
    until(lambda: not job.step(), lambda: None)
    assert job.take.record.state == "done" and not folder.exists() and not job.preview.image
    assert [(one.channel, one.name) for one in scene.sequence_editor.strips] == [(1, "take")]


def test_keep_this_stops_there(scene, tmp_path, pattern_backend, until):
    job = pattern_job(scene, tmp_path / "take", "previews=1000 pause=0.05")
    until(lambda: job.preview and job.preview.pictures is not None and len(job.preview.pictures) == 3, step(job))
    job.keep_preview()
    until(lambda: not job.step(), lambda: None)
    take = Take.open(tmp_path / "take", BlenderImages())
    assert take.record.state == "done" and not take.missing_frames() and take.video.exists()
    assert any("live preview" in note and "12x8" in note for note in take.record.notes)
    first, middle, last = (take.images.read(take.frame_file(index)) for index in (0, 4, 8))
    assert first.shape == (64, 96, 3) and int(middle[0, 0, 0]) - first[0, 0, 0] == 40 == int(last[5, 5, 1]) - middle[9, 9, 1]
    strip = sequencer.find_strip(scene, take.folder / "frames")
    assert len(strip.elements) == 12 and not (take.folder / "preview").exists()


def test_an_image_editor_that_shows_nothing_shows_the_preview(scene, tmp_path, editor, monkeypatch):
    monkeypatch.setattr(live_preview, "PICTURES_A_SECOND", 1e9)
    monkeypatch.setattr(live_preview, "DRAWING", 0)
    preview = LivePreview(tmp_path, REQUEST, None)
    for scene.frame_current in (0, 5, 7, -4):
        preview.show(PICTURES)
        assert shown(editor) == (preview.image.name, preview.number)
    assert not preview.image.is_dirty, "Blender asks at each save whether a changed image is to be saved"
    preview.end()
    assert editor.spaces.active.image is None and not (tmp_path / "preview").exists()


@pytest.mark.parametrize("drawing, pictures", [(0.01, 48), (0.5, 3)])
def test_it_plays_more_slowly_where_blender_draws_slowly(scene, tmp_path, monkeypatch, drawing, pictures):
    now, played = [100.0], []
    monkeypatch.setattr(live_preview.time, "monotonic", lambda: now[0])
    preview = LivePreview(tmp_path, REQUEST, None)
    preview.show(PICTURES)
    for _ in range(round(6 / drawing)):
        now[0] += drawing
        preview.play()
        played.append(preview.number)
    assert abs(sum(one != other for one, other in zip(played, played[1:])) - pictures) <= max(1, pictures // 10)


def test_one_that_shows_a_picture_keeps_it_until_it_is_asked(scene, tmp_path, editor):
    editor.spaces.active.image = other = bpy.data.images.new("painted", 8, 8)
    preview = LivePreview(tmp_path, REQUEST, None)
    preview.show(PICTURES)
    assert preview.image is None and editor.spaces.active.image == other
    preview.show_in(editor)
    assert shown(editor) == (preview.image.name, preview.number)
    preview.end()


def test_undo_and_removal_in_between_harm_nothing(scene, tmp_path, editor, monkeypatch):
    monkeypatch.setattr(live_preview, "PICTURES_A_SECOND", 1e9)
    preview = LivePreview(tmp_path, REQUEST, scene)
    preview.show(PICTURES)
    bpy.data.images.remove(preview.image)
    scene.sequence_editor.strips.remove(sequencer.find_strip(scene, tmp_path / "preview"))
    preview.play()
    preview.show(PICTURES)
    preview.end()
    assert preview.image is None


def test_undo_brings_no_preview_back_that_is_over(scene, tmp_path, editor, addon):
    preview = LivePreview(tmp_path, REQUEST, scene)
    preview.show(PICTURES)
    bpy.ops.ed.undo_push()
    preview.end()
    bpy.ops.ed.undo_push()
    bpy.ops.ed.undo()
    (scene,) = bpy.data.scenes
    assert not any(live_preview.NAME_ENDS in one.name for one in [*scene.sequence_editor.strips, *bpy.data.images])


def test_pictures_are_made_larger_between_their_pixels_centres():
    picture = np.uint8([[[0, 0, 0], [100, 200, 40]]])
    assert enlarge(picture, 4, 2).tolist() == [[[0, 0, 0], [25, 50, 10], [75, 150, 30], [100, 200, 40]]] * 2
