"""Frames of strips and movies come as they are in their files, through a window that never stretches them."""

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon.fitting import fit_mask, fit_picture
from diffusion_as_shader.blender_addon.footage import find_source_strip, movie_extent, reading_movie, strip_extent, strip_frames
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.render_job import at_once
from diffusion_as_shader.shared.errors import Cancelled, UsageError
from diffusion_as_shader.shared.request import GenerationRequest

from .snapshot import snapshot

IMAGES = BlenderImages()
REQUEST = GenerationRequest(width=96, height=64, frames=9, start=5, end=16)
SHOWN = [0, 1, 3, 4, 5, 7, 8, 10, 11]  # of 12 pictures, those nearest to 9 samples


@pytest.fixture
def pictures():
    return np.random.default_rng(0).integers(0, 256, (12, 64, 96, 3), dtype=np.uint8)


@pytest.fixture
def files(pictures, tmp_path):
    names = [tmp_path / f"{number:04d}.png" for number in range(1, 13)]
    for name, picture in zip(names, pictures):
        IMAGES.write(name, picture)
    return names


@pytest.fixture
def scene():
    """A file whose colour management changes what is shown."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.view_settings.view_transform, scene.view_settings.exposure = "AgX", 1
    scene.sequence_editor_create()
    return scene


def image_strip(scene, files, name="clip", channel=2):
    strip = scene.sequence_editor.strips.new_image(name=name, filepath=str(files[0]), channel=channel, frame_start=5)
    for file in files[1:]:
        strip.elements.append(file.name)
    return strip


def test_an_image_strip_is_exact(scene, files, pictures):
    strip = image_strip(scene, files)
    colour = scene.sequence_editor.strips.new_effect(
        name="above", type="COLOR", channel=5, frame_start=1, **({"frame_end": 40} if bpy.app.version < (5, 0) else {"length": 39})
    )
    strip.transform.scale_x, strip.colorspace_settings.name = 3, "AgX Base sRGB"
    before = snapshot()
    assert find_source_strip(scene, "clip") == (scene, strip) and strip_extent(scene, strip) == (5, 16, 24)
    shown = strip_frames(scene, strip, REQUEST)
    assert np.array_equal(shown.frames, pictures[SHOWN])
    assert (shown.size, shown.count, list(shown.numbers)) == ((96, 64), 12, SHOWN)
    assert snapshot() == before and not colour.mute
    assert np.array_equal(strip_frames(scene, image_strip(scene, files[2:3], "one", 7), REQUEST).frames, pictures[2:3]), "one picture, once"


def test_a_movie_file_and_a_movie_strip_are_exact(scene, files, pictures, tmp_path):
    IMAGES.write_lossless(tmp_path / "clip.mkv", files, 30, lambda written, total: None)
    extent = movie_extent(tmp_path / "clip.mkv")
    assert extent == (1, 12, pytest.approx(30))
    own = msgspec.structs.replace(REQUEST, start=extent.start, end=extent.end)
    assert np.array_equal(at_once(reading_movie(tmp_path / "clip.mkv", own)).frames, pictures[SHOWN])
    scene.render.fps = 30
    strip = scene.sequence_editor.strips.new_movie(name="movie", filepath=str(tmp_path / "clip.mkv"), channel=1, frame_start=5)
    assert np.array_equal(strip_frames(scene, strip, REQUEST).frames, pictures[SHOWN])
    assert [each.name for each in bpy.data.scenes] == ["Scene"] and not bpy.data.images


def test_an_effect_is_as_the_scene_shows_it(scene, files, pictures):
    scene.render.resolution_x, scene.render.resolution_y = 96, 64
    first, second = image_strip(scene, files), image_strip(scene, files[::-1], "back", 3)
    cross = scene.sequence_editor.strips.new_effect(
        name="cross", type="CROSS", channel=4, frame_start=5, input1=first, input2=second,
        **({"frame_end": 17} if bpy.app.version < (5, 0) else {"length": 12}),
    )  # fmt: skip
    shown = strip_frames(scene, cross, REQUEST).frames.astype(int)
    assert np.abs(shown[0] - pictures[0]).max() <= 1
    assert np.abs(shown[-1] - pictures[0]).mean() < np.abs(shown[-1] - pictures[-1]).mean()


def test_what_is_no_footage_is_said(scene, files, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"nothing")
    for file, said in ((tmp_path / "broken.mp4", "no movie that Blender"), (tmp_path / "none.mp4", "There is no movie")):
        with pytest.raises(UsageError, match=said):
            movie_extent(file)
    with pytest.raises(UsageError, match="no strip 'none'"):
        find_source_strip(scene, "none")
    with pytest.raises(Cancelled):
        strip_frames(scene, image_strip(scene, files), REQUEST, cancelled=lambda: True)
    assert [each.name for each in bpy.data.scenes] == ["Scene"]


@pytest.mark.parametrize("size, fit", [((48, 32), "crop"), ((300, 100), "crop"), ((300, 100), "pad"), ((40, 90), "pad"), ((96, 64), "pad")])
def test_a_window_keeps_shapes(size, fit):
    """A disc stays a disc of the scale that the fit says, in the middle."""
    width, height = size
    across, down = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    radius = min(size) / 3
    disc = (np.hypot(across - width / 2, down - height / 2) < radius)[..., None].repeat(3, axis=2).astype(np.uint8) * 255
    scale = (max if fit == "crop" else min)(96 / width, 64 / height)
    fitted = fit_picture(disc, 96, 64, fit)[..., 0] > 127
    rows, columns = np.nonzero(fitted)
    assert fitted.sum() == pytest.approx(np.pi * (radius * scale) ** 2, rel=0.06)
    assert rows.mean() + 0.5 == pytest.approx(32, abs=0.3) and columns.mean() + 0.5 == pytest.approx(48, abs=0.3)
    assert np.array_equal(fit_mask(disc[..., 0] > 0, 96, 64, fit), fitted)


def test_a_padded_window_is_black_beside_the_picture_and_whole_within(scene):
    fitted = fit_picture(np.full((64, 48, 3), 200, np.uint8), 96, 64, "pad")
    assert (fitted[:, 24:72] == 200).all() and not fitted[:, :24].any() and not fitted[:, 72:].any()
