"""Pictures by Blender: exact values, nothing left behind."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon.images import BlenderImages, linear_to_srgb
from diffusion_as_shader.shared.errors import Cancelled, GenerationError, UsageError


@pytest.fixture(autouse=True)
def empty_file():
    bpy.ops.wm.read_factory_settings(use_empty=True)


@pytest.fixture
def noise():
    return np.random.default_rng(0).integers(0, 256, (48, 80, 3), dtype=np.uint8)


def blocks():
    """Names of all data-blocks by kind."""
    collections = ((name, getattr(bpy.data, name)) for name in dir(bpy.data))
    return {name: [block.name for block in held] for name, held in collections if type(held).__name__ == "bpy_prop_collection"}


def test_png_is_exact_under_any_view_transform(tmp_path, noise):
    bpy.context.scene.view_settings.view_transform = "AgX"
    images = BlenderImages()
    before = blocks()
    images.write(tmp_path / "a.png.partial", noise)
    (tmp_path / "a.png.partial").rename(tmp_path / "a.png")
    assert np.array_equal(images.read(tmp_path / "a.png"), noise)
    assert blocks() == before


def test_blenders_own_png_reads_exactly(tmp_path, noise):
    """A file by another writer, with alpha and 16 bits, gives the same 8-bit values."""
    image = bpy.data.images.new("other", 80, 48, alpha=True, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"
    pixels = np.ones((48, 80, 4), np.float32)
    pixels[..., :3] = noise[::-1] / np.float32(255)
    image.pixels.foreach_set(pixels.ravel())
    image.filepath_raw, image.file_format = str(tmp_path / "sixteen.png"), "PNG"
    image.save()
    bpy.data.images.remove(image)
    assert np.array_equal(BlenderImages().read(tmp_path / "sixteen.png"), noise)


def test_transparency_lies_over_black(tmp_path, noise):
    image = bpy.data.images.new("cut out", 80, 48, alpha=True)
    image.alpha_mode = "CHANNEL_PACKED"
    pixels = np.ones((48, 80, 4), np.float32)
    pixels[..., :3] = noise[::-1] / np.float32(255)
    pixels[:, :40, 3] = 0
    image.pixels.foreach_set(pixels.ravel())
    image.filepath_raw, image.file_format = str(tmp_path / "cut.png"), "PNG"
    image.save()
    bpy.data.images.remove(image)
    read = BlenderImages().read(tmp_path / "cut.png")
    assert not read[:, :40].any()
    assert np.array_equal(read[:, 40:], noise[:, 40:])


def test_exr_gets_the_srgb_curve(tmp_path):
    linear = np.linspace(0, 1, 48 * 80 * 3, dtype=np.float32).reshape(48, 80, 3)
    image = bpy.data.images.new("light", 80, 48, float_buffer=True)
    image.colorspace_settings.name = "Non-Color"  # stores the values as they are
    pixels = np.ones((48, 80, 4), np.float32)
    pixels[..., :3] = linear[::-1]
    image.pixels.foreach_set(pixels.ravel())
    image.filepath_raw, image.file_format = str(tmp_path / "light.exr"), "OPEN_EXR"
    image.save()
    bpy.data.images.remove(image)
    expected = np.rint(linear_to_srgb(linear) * 255)
    assert np.abs(BlenderImages().read(tmp_path / "light.exr") - expected).max() <= 1


def test_missing_image_and_no_image(tmp_path):
    with pytest.raises(UsageError, match="There is no image"):
        BlenderImages().read(tmp_path / "none.png")
    (tmp_path / "text.png").write_text("not a picture")
    before = blocks()
    with pytest.raises(UsageError, match="no image that Blender can read"):
        BlenderImages().read(tmp_path / "text.png")
    assert blocks() == before


def test_video_leaves_scene_and_render_result_alone(tmp_path):
    images, scene = BlenderImages(), bpy.context.scene
    scene.render.resolution_x = scene.render.resolution_y = 32
    scene.render.engine, scene.cycles.samples = "CYCLES", 1
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.collection.objects.link(scene.camera)
    bpy.ops.render.render()
    bpy.data.images["Render Result"].save_render(str(tmp_path / "before.png"), scene=scene)
    before, frame = blocks(), scene.frame_current
    write_ramp(images, tmp_path, 9)
    images.write_video(tmp_path / "video.mp4", sorted(tmp_path.glob("0*.png")), 9 * 24 / 13)
    assert blocks() == before and scene.frame_current == frame
    bpy.data.images["Render Result"].save_render(str(tmp_path / "after.png"), scene=scene)
    assert (tmp_path / "before.png").read_bytes() == (tmp_path / "after.png").read_bytes()
    clip = bpy.data.movieclips.load(str(tmp_path / "video.mp4"))
    assert tuple(clip.size) == (64, 48)
    assert clip.frame_duration == 9
    assert clip.fps == pytest.approx(9 * 24 / 13, abs=1e-3)
    movie = bpy.data.images.load(str(tmp_path / "video.mp4"))
    assert abs(movie.pixels[0] * 255 - 100) <= 3, "no view transform has changed it"


def test_video_leaves_unkeyed_changes_and_handlers_alone(tmp_path):
    scene, called = bpy.context.scene, []
    thing = bpy.data.objects.new("thing", None)
    scene.collection.objects.link(thing)
    thing.keyframe_insert("location", frame=1)
    thing.location.x = 5

    def heard(scene, *_):
        called.append(scene.name)

    for handlers in (bpy.app.handlers.frame_change_pre, bpy.app.handlers.render_post, bpy.app.handlers.render_complete):
        handlers.append(heard)
    try:
        write_ramp(BlenderImages(), tmp_path, 9)
        BlenderImages().write_video(tmp_path / "video.mp4", sorted(tmp_path.glob("0*.png")), 24)
        assert thing.location.x == 5 and not called
        assert heard in bpy.app.handlers.frame_change_pre and heard in bpy.app.handlers.render_complete
    finally:
        for handlers in (bpy.app.handlers.frame_change_pre, bpy.app.handlers.render_post, bpy.app.handlers.render_complete):
            handlers.remove(heard)


def test_video_without_any_render_leaves_no_render_result(tmp_path):
    before = blocks()
    write_ramp(BlenderImages(), tmp_path, 9)
    BlenderImages().write_video(tmp_path / "video.mp4", sorted(tmp_path.glob("0*.png")), 24)
    assert blocks() == before


def test_failed_video_leaves_no_file(tmp_path):
    write_ramp(BlenderImages(), tmp_path, 9)
    (tmp_path / "occupied").write_text("a file where the folder should be")
    before = blocks()
    with pytest.raises((GenerationError, OSError)):
        BlenderImages().write_video(tmp_path / "occupied" / "video.mp4", sorted(tmp_path.glob("0*.png")), 24)
    assert not list(tmp_path.rglob("*.mp4*"))
    assert blocks() == before


def write_ramp(images, folder, count):
    for index in range(count):
        images.write(folder / f"{index + 1:04d}.png", np.full((48, 64, 3), 100 + index * 15, np.uint8))


def pictures(folder, count=4):
    files = [folder / f"{number:04d}.png" for number in range(1, count + 1)]
    for number, file in enumerate(files):
        BlenderImages().write(file, np.random.default_rng(number).integers(0, 256, (48, 80, 3), dtype=np.uint8))
    return files


def test_a_lossless_video_tells_its_progress_and_leaves_nothing_behind(tmp_path):
    told, before = [], blocks()
    BlenderImages().write_lossless(tmp_path / "a.mkv", pictures(tmp_path), 24, lambda *step: told.append(step))
    assert told == [(1, 4), (2, 4), (3, 4), (4, 4)] and blocks() == before
    assert (tmp_path / "a.mkv").read_bytes()[:4] == b"\x1a\x45\xdf\xa3", "Matroska, of any name while it was written"


def test_a_video_is_cancelled_between_frames(tmp_path):
    told, before = [], blocks()

    def stop(*step):
        told.append(step)
        if len(told) == 2:
            raise Cancelled("Enough.")

    with pytest.raises(Cancelled, match="Enough"):
        BlenderImages().write_lossless(tmp_path / "a.mkv", pictures(tmp_path, 12), 24, stop)
    assert told[-1] == (2, 12) and blocks() == before
    assert not list(tmp_path.glob("a.mkv*"))
