"""The first frame: lined up with tracking frame 0 for every kind of camera, rendered as asked, or an image checked."""

import itertools

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec

from .scenes import REQUEST, moving_cube

from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer
from diffusion_as_shader.blender_addon.capture.first_frame import first_frame
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.capture.signals import draw_signals
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import FirstFrame

WINDOW = msgspec.structs.replace(REQUEST, width=240, height=160, start=2.5)


@pytest.fixture
def scene():
    """A turned cube and a cone over black, shown flat and white by Workbench."""
    scene = moving_cube()
    bpy.data.objects["Cube"].rotation_euler = (0.5, 0.3, 0.7)
    bpy.ops.mesh.primitive_cone_add(radius1=0.5, depth=1.5, location=(-1.3, 0.5, 0.9))
    shading = scene.display.shading
    shading.light, shading.color_type, shading.single_color = "FLAT", "SINGLE", (1, 1, 1)
    shading.show_object_outline = False
    scene.render.film_transparent = True
    scene.display.render_aa = "OFF"
    return scene


def signals_of(scene, request):
    return next(iter(draw_signals(capture(scene, request), request, NumpyDrawer())))[1]


def grown(mask: np.ndarray) -> np.ndarray:
    """The mask and one pixel around it."""
    wide = np.pad(mask, 1)
    return np.any([np.roll(wide, shift, (0, 1)) for shift in itertools.product((-1, 0, 1), repeat=2)], axis=0)[1:-1, 1:-1]


def assert_edges_match(scene, request) -> None:
    shown = first_frame(scene, request, BlenderImages())[..., 0] > 127
    tracked = signals_of(scene, request).valid
    assert 0.02 < tracked.mean() < 0.9
    assert not (shown & ~grown(tracked)).any() and not (tracked & ~grown(shown)).any()


@pytest.mark.parametrize("sensor_fit", ["AUTO", "HORIZONTAL", "VERTICAL"])
@pytest.mark.parametrize("resolution, pixel_aspect", [((1280, 720), (1, 1)), ((400, 900), (1, 1)), ((360, 480), (2, 1))])
def test_edges_match_tracking_frame_0_within_a_pixel(scene, sensor_fit, resolution, pixel_aspect):
    render, data = scene.render, scene.camera.data
    render.resolution_x, render.resolution_y = resolution
    render.pixel_aspect_x, render.pixel_aspect_y = pixel_aspect
    data.sensor_fit, data.sensor_height = sensor_fit, 30
    for fit, (shift_x, shift_y) in itertools.product(("crop", "pad"), ((0, 0), (0.08, -0.06))):
        data.shift_x, data.shift_y = shift_x, shift_y
        assert_edges_match(scene, msgspec.structs.replace(WINDOW, fit=fit))


def test_edges_match_by_the_scenes_own_engine_and_lens(scene):
    """Cycles renders alpha, so what is opaque is the surface; the lens is animated and given as an angle."""
    scene.render.engine, scene.cycles.samples, scene.cycles.use_denoising = "CYCLES", 4, False
    scene.world = bpy.data.worlds.new("black")
    lamp = bpy.data.objects.new("sun", bpy.data.lights.new("sun", "SUN"))
    scene.collection.objects.link(lamp)
    data = scene.camera.data
    data.lens_unit = "FOV"
    for frame, lens in ((1, 40), (12, 70)):
        data.lens = lens
        data.keyframe_insert("lens", frame=frame)
    request = msgspec.structs.replace(WINDOW, first_frame=FirstFrame(source="render", samples=4))
    tracked = signals_of(scene, request).valid
    lit = first_frame(scene, request, BlenderImages()).max(axis=-1) > 20
    assert lit.mean() > 0.02 and not (lit & ~grown(tracked)).any()


def test_padding_is_black_in_both(scene):
    scene.render.resolution_x, scene.render.resolution_y = 400, 900
    scene.render.film_transparent = False
    scene.world = bpy.data.worlds.new("white")
    request = msgspec.structs.replace(WINDOW, fit="pad")
    picture = first_frame(scene, request, BlenderImages())
    width = 160 * 400 / 900
    margin = int((240 - width) / 2) - 1
    assert not picture[:, :margin].any() and not picture[:, -margin:].any()
    assert picture[:, margin + 2 : -margin - 2].any()
    assert not signals_of(scene, request).valid[:, :margin].any()


def test_an_image_of_the_right_size_is_taken_as_it_is(scene, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (160, 240, 3), np.uint8)
    file = tmp_path / "first größe.png"
    BlenderImages().write(file, pixels)
    request = msgspec.structs.replace(WINDOW, first_frame=FirstFrame(source="file", path=str(file)))
    assert np.array_equal(first_frame(scene, request, BlenderImages()), pixels)


def test_an_image_of_another_size_is_refused_with_both_sizes(scene, tmp_path):
    file = tmp_path / "small.png"
    BlenderImages().write(file, np.zeros((20, 30, 3), np.uint8))
    request = msgspec.structs.replace(WINDOW, first_frame=FirstFrame(source="file", path=str(file)))
    with pytest.raises(UsageError, match="30x20.*240x160"):
        first_frame(scene, request, BlenderImages())


def test_a_missing_image_is_refused(scene, tmp_path):
    request = msgspec.structs.replace(WINDOW, first_frame=FirstFrame(source="file", path=str(tmp_path / "none.png")))
    with pytest.raises(UsageError, match="none.png"):
        first_frame(scene, request, BlenderImages())
