"""The growing strip: which result each timeline frame shows, its place, its exact colours."""

import shutil
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import sequencer
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.timeline import strip_elements


@pytest.fixture
def scene():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 64, 48, 100
    scene.view_settings.view_transform = "Standard"
    scene.render.dither_intensity = 0
    return scene


@pytest.fixture
def request_():
    return GenerationRequest(start=3, end=22, frames=9, width=64, height=48)


def write_frames(folder: Path, count: int, seed: int = 0) -> list:
    pictures = list(np.random.default_rng(seed).integers(0, 256, (count, 48, 64, 3), dtype=np.uint8))
    folder.mkdir(exist_ok=True)
    for index, picture in enumerate(pictures):
        BlenderImages().write(folder / f"{index + 1:04d}.png", picture)
    return pictures


def shown(scene, frame: int, folder: Path) -> np.ndarray:
    scene.frame_set(frame)
    scene.render.filepath = str(folder / "shown.png")
    scene.render.image_settings.file_format = "PNG"
    bpy.ops.render.render(write_still=True)
    return BlenderImages().read(folder / "shown.png")


def test_strip_grows_in_order_and_lasts_as_long_as_the_range(scene, request_, tmp_path):
    write_frames(tmp_path / "frames", 9)
    strip = sequencer.GrowingStrip(scene, tmp_path / "frames", request_, "take")
    strip.add(1)
    assert sequencer.find_strip(scene, tmp_path / "frames") is None, "result 0 is not there yet"
    strip.add(0)
    made = sequencer.find_strip(scene, tmp_path / "frames")
    assert {element.filename for element in made.elements} == {"0001.png", "0002.png"}
    for index in range(2, 9):
        strip.add(index)
    wanted = [f"{index + 1:04d}.png" for index in strip_elements(3, 22, 9)]
    assert [element.filename for element in made.elements] == wanted
    assert (sequencer.strip_start(made), sequencer.strip_end(made)) == (3, 23)
    assert len(scene.sequence_editor.strips) == 1


def test_pixels_are_exact_and_the_nearest_result(scene, request_, tmp_path):
    pictures = write_frames(tmp_path / "frames", 9)
    strip = sequencer.GrowingStrip(scene, tmp_path / "frames", request_, "take")
    for index in range(9):
        strip.add(index)
    elements = strip_elements(3, 22, 9)
    for frame in (3, 10, 22):
        assert np.array_equal(shown(scene, frame, tmp_path), pictures[elements[frame - 3]])


@pytest.mark.parametrize("view, within", [("AgX", 10), ("Filmic", 1)])
def test_view_transform_is_undone(scene, request_, tmp_path, view, within):
    """Pictures that such a scene renders: greys and muted colours that the transform itself can make."""
    scene.view_settings.view_transform = view
    picture = np.zeros((48, 64, 3), np.uint8)
    picture[...] = np.linspace(40, 200, 64)[None, :, None] + np.array([15, 0, -15])
    (tmp_path / "frames").mkdir()
    BlenderImages().write(tmp_path / "frames" / "0001.png", picture)
    strip = sequencer.GrowingStrip(scene, tmp_path / "frames", request_, "take")
    strip.add(0)
    off = np.abs(shown(scene, 3, tmp_path).astype(int) - picture)
    assert off.max() <= within and off.mean() < 0.5
    made = sequencer.find_strip(scene, tmp_path / "frames")
    made.colorspace_settings.name = "sRGB"
    assert np.abs(shown(scene, 3, tmp_path).astype(int) - picture).mean() > 5, "else this test shows nothing"


def test_view_that_cannot_be_undone_is_said(scene):
    assert sequencer.colour_space(scene) == ("sRGB", "")
    scene.view_settings.exposure = 1
    space, note = sequencer.colour_space(scene)
    assert space == "sRGB" and "colour management (Standard)" in note


def test_overwritten_results_are_shown(scene, request_, tmp_path):
    """A second try at one take goes into its strip, moved or not, and does not show what Blender read before."""
    write_frames(tmp_path / "frames", 9)
    strip = sequencer.GrowingStrip(scene, tmp_path / "frames", request_, "take")
    for index in range(9):
        strip.add(index)
    shown(scene, 3, tmp_path)
    sequencer.find_strip(scene, tmp_path / "frames").channel = 5
    pictures = write_frames(tmp_path / "frames", 9, seed=1)
    again = sequencer.GrowingStrip(scene, tmp_path / "frames", request_, "take")
    for index in range(9):
        again.add(index)
    (only,) = scene.sequence_editor.strips
    assert only.channel == 5 and len(only.elements) == 20
    assert np.array_equal(shown(scene, 3, tmp_path), pictures[0])


def test_strip_lies_above_what_it_meets(scene, request_, tmp_path):
    write_frames(tmp_path / "frames", 9)
    strips = scene.sequence_editor_create().strips
    strips.new_image(name="user", filepath=str(tmp_path / "frames" / "0001.png"), channel=4, frame_start=5)
    sequencer.GrowingStrip(scene, tmp_path / "frames2", request_, "take")
    assert sequencer.free_channel(scene.sequence_editor, 3, 23) == 5
    assert sequencer.free_channel(scene.sequence_editor, 10, 23) == 1


def test_strip_removed_by_the_user_stays_removed(scene, request_, tmp_path):
    write_frames(tmp_path / "frames", 9)
    strip = sequencer.GrowingStrip(scene, tmp_path / "frames", request_, "take")
    strip.add(0)
    scene.sequence_editor.strips.remove(sequencer.find_strip(scene, tmp_path / "frames"))
    strip.add(1)
    assert len(scene.sequence_editor.strips) == 0


def test_path_is_relative_to_a_saved_file(scene, request_, tmp_path):
    write_frames(tmp_path / "frames", 9)
    assert sequencer.blender_path(tmp_path / "frames") == f"{tmp_path / 'frames'}/"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    scene = bpy.context.scene
    strip = sequencer.GrowingStrip(scene, tmp_path / "frames", request_, "take")
    strip.add(0)
    assert sequencer.find_strip(scene, tmp_path / "frames").directory == "//frames/"


def test_pictures_that_are_lost_show_nothing(scene, request_, tmp_path):
    """Blender, in its default, would make a magenta picture of any size that there happens to be in memory."""
    write_frames(tmp_path / "frames", 9)
    strip = sequencer.GrowingStrip(scene, tmp_path / "frames", request_, "take")
    strip.show(range(9))
    shutil.rmtree(tmp_path / "frames")
    sequencer.refresh(sequencer.find_strip(scene, tmp_path / "frames"))
    assert not any(shown(scene, frame, tmp_path).any() for frame in (4, 12, 22))
