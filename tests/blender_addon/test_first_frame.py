"""The first frame lines up with tracking frame 0, keeps the scene's look, or is a checked file."""

import itertools

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec

from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer
from diffusion_as_shader.blender_addon.capture.first_frame import first_frame
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.capture.signals import draw_signals
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import FirstFrame

from .drawing import grown
from .scenes import REQUEST, moving_cube

IMAGES = BlenderImages()
FITS = ("AUTO", "HORIZONTAL", "VERTICAL")
SHAPES = (((160, 90), (1, 1)), ((90, 160), (1, 1)), ((120, 80), (2, 1)))  # resolution, pixel aspect
SHADED = msgspec.structs.replace(REQUEST, width=144, height=96)


@pytest.fixture
def scene():
    """A white shape without light over nothing: what is not black is surface."""
    scene = moving_cube()
    bpy.ops.mesh.primitive_monkey_add(location=(0.9, 0, 0.7), rotation=(0.2, 0.3, 0.1))
    shading = scene.display.shading
    shading.light, shading.color_type, shading.single_color = "FLAT", "SINGLE", (1, 1, 1)
    scene.display.render_aa = "OFF"
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.film_transparent, scene.render.dither_intensity = True, 0
    return scene


def surface(scene, request) -> np.ndarray:
    captured = capture(scene, request)
    return next(draw_signals(captured, request, NumpyDrawer()))[1].valid


def check_alignment(scene, request) -> None:
    """Every edge of the picture within one pixel of an edge of tracking frame 0."""
    drawn, rendered = surface(scene, request), first_frame(scene, request, IMAGES)
    white = rendered[..., 0] > 127
    assert rendered.shape == (request.height, request.width, 3) and 0.03 < drawn.mean() < 0.9
    assert not (white & ~grown(drawn)).any() and not (~white & ~grown(~drawn)).any()
    assert (white != drawn).mean() < 0.01


@pytest.mark.parametrize("fit, shape, window_fit", itertools.product(FITS, SHAPES, ("crop", "pad")))
def test_edges_match_tracking_frame_0(scene, fit, shape, window_fit):
    data, render = scene.camera.data, scene.render
    (render.resolution_x, render.resolution_y), (render.pixel_aspect_x, render.pixel_aspect_y) = shape
    data.sensor_fit, data.shift_x, data.shift_y, data.lens = fit, 0.08, -0.05, 40
    render.resolution_percentage = 100
    check_alignment(scene, msgspec.structs.replace(SHADED, fit=window_fit))


def test_animated_camera_at_a_sub_frame(scene):
    camera = scene.camera
    for frame, x, lens in ((1, -2.0, 35.0), (12, 2.0, 60.0)):
        camera.location.x, camera.data.lens = x, lens
        camera.keyframe_insert("location", frame=frame)
        camera.data.keyframe_insert("lens", frame=frame)
    check_alignment(scene, msgspec.structs.replace(SHADED, start=6.5))


def test_the_camera_of_a_marker(scene):
    other = scene.camera.copy()
    other.location.x = 1.5
    scene.collection.objects.link(other)
    scene.timeline_markers.new("one", frame=1).camera = scene.camera
    scene.timeline_markers.new("two", frame=6).camera = other
    check_alignment(scene, msgspec.structs.replace(SHADED, start=6, end=14))


def test_a_narrow_field_of_view(scene):
    """A window far smaller than Blender's smallest sensor at that lens."""
    scene.camera.data.sensor_width, scene.camera.data.lens = 1.0, 2.4
    scene.render.resolution_x, scene.render.resolution_y = 400, 60
    check_alignment(scene, msgspec.structs.replace(SHADED, width=96, height=96))


def test_a_tracking_window_of_a_stretched_camera(scene):
    scene.camera.scale = (1.0, 3.0, 0.5)
    check_alignment(scene, SHADED)


def test_the_scenes_look_is_kept(scene):
    """Grey by Cycles through the scene's own view transform, against a render by hand."""
    scene.render.engine, scene.cycles.device, scene.cycles.samples = "CYCLES", "CPU", 1
    scene.view_settings.view_transform, scene.view_settings.exposure = "AgX", 0.5
    scene.render.dither_intensity, scene.render.film_transparent = 0, False
    scene.world = bpy.data.worlds.new("World")
    scene.world.use_nodes = True
    scene.world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.2, 0.4, 0.1, 1)
    scene.render.resolution_x, scene.render.resolution_y = 64, 32
    picture = first_frame(scene, msgspec.structs.replace(REQUEST, width=64, height=32, first_frame=FirstFrame()), IMAGES)
    scene.frame_set(1)
    bpy.ops.render.render()
    file = bpy.app.tempdir + "by_hand.png"
    bpy.data.images["Render Result"].save_render(file, scene=scene)
    by_hand = IMAGES.read(file)
    assert by_hand[0, 0].any() and np.abs(picture.astype(int) - by_hand)[:4].max() <= 1  # the sky; the cube has noise
    assert np.abs(picture.astype(float).mean() - by_hand.mean()) < 2


@pytest.mark.parametrize("source", ["workbench", "cycles"])
def test_a_chosen_engine(scene, source):
    scene.render.engine, scene.cycles.device = "BLENDER_WORKBENCH" if source == "cycles" else "CYCLES", "CPU"
    scene.world = bpy.data.worlds.new("World")
    scene.world.use_nodes = True
    picture = first_frame(scene, msgspec.structs.replace(SHADED, first_frame=FirstFrame(source=source, samples=1)), IMAGES)
    assert picture.any() and (picture.max() == 255) == (source == "workbench")


def test_transparent_film_lies_over_black(scene):
    picture = first_frame(scene, SHADED, IMAGES)
    assert not picture[~grown(surface(scene, SHADED))].any()


def test_what_is_left_out_is_said(scene):
    scene.render.use_motion_blur = True
    notes = capture(scene, SHADED).notes
    assert len(notes) == 1 and "motion blur" in notes[0]
    from_a_file = msgspec.structs.replace(SHADED, first_frame=FirstFrame(source="file", path="a.png"))
    assert capture(scene, from_a_file).notes == []


def from_file(file):
    return msgspec.structs.replace(SHADED, first_frame=FirstFrame(source="file", path=str(file)))


def test_a_file_is_taken_as_it_is(scene, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (96, 144, 3), dtype=np.uint8)
    IMAGES.write(tmp_path / "mine.png", pixels)
    assert np.array_equal(first_frame(scene, from_file(tmp_path / "mine.png"), IMAGES), pixels)


def test_a_file_of_another_size(scene, tmp_path):
    IMAGES.write(tmp_path / "small.png", np.zeros((50, 60, 3), np.uint8))
    with pytest.raises(UsageError, match="60x50.*144x96") as caught:
        first_frame(scene, from_file(tmp_path / "small.png"), IMAGES)
    assert "144x96" in caught.value.fix


def test_a_missing_file(scene, tmp_path):
    with pytest.raises(UsageError, match="nothing.png"):
        first_frame(scene, from_file(tmp_path / "nothing.png"), IMAGES)


def test_unbaked_cloth_stands_as_in_tracking_frame_0(scene):
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=6, y_subdivisions=6, location=(0, 0, 1.5), rotation=(0.5, 0, 0))
    bpy.context.object.modifiers.new("Cloth", "CLOTH")
    request = msgspec.structs.replace(SHADED, start=9, end=17)
    before = first_frame(scene, request, IMAGES)  # no capture has cached anything yet
    check_alignment(scene, request)
    assert np.array_equal(before, first_frame(scene, request, IMAGES))
