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


def shown(image) -> int:
    """The grey that an image shows."""
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    assert np.ptp(pixels.reshape(-1, 4)[:, :3]) == 0 and (pixels.reshape(-1, 4)[:, 3] == 1).all()
    return round(float(pixels[0]) * 255)


def test_strip_and_image_show_each_preview_and_are_gone_at_the_end(scene, tmp_path, pattern_backend, until):
    job = pattern_job(scene, tmp_path / "take", "previews=4 pause=0.3 sleep=0.02")
    folder = tmp_path / "take" / "preview"
    strip = until(lambda: (folder / "0003.png").exists() and sequencer.find_strip(scene, folder), step(job))
    assert [element.filename for element in strip.elements] == [f"000{n}.png" for n in (1, 1, 1, 2, 2, 2, 2, 2, 2, 3, 3, 3)]
    seen = set()
    until(lambda: seen.add(shown(job.preview.image)) or len(seen) > 3, step(job))  # it moves, and later ones are shown
    seen -= {0}  # the engine's first preview is one black picture, of another size
    assert seen <= {grey + number for grey in (40, 80, 120) for number in range(4)}
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


def test_an_image_editor_that_shows_nothing_shows_the_preview(scene, tmp_path):
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    area.ui_type = "IMAGE_EDITOR"
    preview = LivePreview(tmp_path, REQUEST, None)
    preview.show(PICTURES)
    assert area.spaces.active.image == preview.image and shown(preview.image) == 80
    preview.end()
    assert area.spaces.active.image is None and not (tmp_path / "preview").exists()


def test_undo_and_removal_in_between_harm_nothing(scene, tmp_path, monkeypatch):
    monkeypatch.setattr(live_preview, "PICTURES_A_SECOND", 1e9)
    preview = LivePreview(tmp_path, REQUEST, scene)
    preview.show(PICTURES)
    bpy.data.images.remove(preview.image)
    scene.sequence_editor.strips.remove(sequencer.find_strip(scene, tmp_path / "preview"))
    preview.play()
    assert preview.image
    preview.end()
    assert preview.image is None


def test_pictures_are_made_larger_between_their_pixels_centres():
    picture = np.uint8([[[0, 0, 0], [100, 200, 40]]])
    assert enlarge(picture, 4, 2).tolist() == [[[0, 0, 0], [25, 50, 10], [75, 150, 30], [100, 200, 40]]] * 2
