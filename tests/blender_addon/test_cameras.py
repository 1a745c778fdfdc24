"""Projected points against Blender's own world_to_camera_view, and the window on a camera's view."""

import itertools

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from .scenes import REQUEST, moving_cube

from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.shared.camera import blender_to_opencv, opencv_to_blender, project
from diffusion_as_shader.shared.errors import SceneError

POINTS = np.random.default_rng(3).uniform(-1.5, 1.5, (40, 3))
ASPECTS = ((720, 480), (480, 720))
FITS = ("AUTO", "HORIZONTAL", "VERTICAL")
LENSES = ((24.0, 0.0, 0.0), (50.0, 0.2, -0.15), (120.0, -0.3, 0.1))


@pytest.fixture(scope="module")
def scene():
    scene = moving_cube()
    scene.camera.rotation_euler = (1.3, 0.2, 0.1)
    scene.camera.scale = (2.0, 2.0, 2.0)
    return scene


def captured_camera(scene, width, height, **changes):
    request = msgspec.structs.replace(REQUEST, width=width, height=height, **changes)
    return capture(scene, request).frames[0].camera


def blender_view(scene) -> np.ndarray:
    """POINTS in the camera's frame [N,3]: x right and y down in [0, 1], z the distance along its axis."""
    seen = np.array([world_to_camera_view(scene, scene.camera, Vector(point)) for point in POINTS])
    return seen * (1, -1, 1) + (0, 1, 0)


@pytest.mark.parametrize("size", ASPECTS)
@pytest.mark.parametrize("sensor_fit", FITS)
@pytest.mark.parametrize("pixel_aspect", [(1.0, 1.0), (2.0, 1.0)])
def test_projection_is_blenders(scene, size, sensor_fit, pixel_aspect):
    """The window has the view's aspect here, so both speak of the same frame."""
    render, data = scene.render, scene.camera.data
    render.pixel_aspect_x, render.pixel_aspect_y = pixel_aspect
    render.resolution_x, render.resolution_y = int(size[0] / pixel_aspect[0]), int(size[1] / pixel_aspect[1])
    for percentage, (lens, shift_x, shift_y) in itertools.product((100, 50), LENSES):
        render.resolution_percentage = percentage
        data.sensor_fit, data.lens, data.shift_x, data.shift_y = sensor_fit, lens, shift_x, shift_y
        scene.frame_set(1)
        pixels, depth = project(POINTS, captured_camera(scene, *size))
        expected = blender_view(scene)
        assert np.abs(pixels / size - expected[:, :2]).max() < 1e-4
        assert np.abs(depth - expected[:, 2]).max() < 1e-4


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("sensor_fit", FITS)
@pytest.mark.parametrize("resolution", [(1280, 720), (600, 900)])
def test_a_window_of_another_aspect_is_never_stretched(scene, fit, sensor_fit, resolution):
    """Every point lies where a uniform scale about the frame's centre puts it: the larger scale crops, the smaller pads."""
    render, data = scene.render, scene.camera.data
    render.resolution_x, render.resolution_y, render.resolution_percentage = *resolution, 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1
    data.sensor_fit, data.lens, data.shift_x, data.shift_y = sensor_fit, 35, 0.1, -0.2
    scene.frame_set(1)
    window = np.array([240, 160])
    scale = (max if fit == "crop" else min)(window / resolution)
    expected = (blender_view(scene)[:, :2] - 0.5) * resolution * scale + window / 2
    camera = captured_camera(scene, 240, 160, fit=fit)
    assert np.abs(project(POINTS, camera)[0] - expected).max() < 1e-2
    assert camera.intrinsics.fx == camera.intrinsics.fy


def test_axes_go_there_and_back():
    matrix = np.eye(4)
    matrix[:3, 3] = (1, 2, 3)
    assert np.allclose(opencv_to_blender(blender_to_opencv(matrix)), matrix)
    ahead = blender_to_opencv(matrix) @ (1 + 0.5, 2 + 0.25, 3 - 4, 1)
    assert np.allclose(ahead[:3], (0.5, -0.25, 4))  # right, down, forward


@pytest.mark.parametrize("kind, word", [("ORTHO", "orthographic"), ("PANO", "panoramic")])
def test_other_cameras_are_refused_in_one_sentence(scene, kind, word):
    scene.camera.data.type = kind
    try:
        with pytest.raises(SceneError, match=word) as caught:
            captured_camera(scene, 96, 64)
        assert caught.value.exit_code == 3 and caught.value.fix
    finally:
        scene.camera.data.type = "PERSP"


def test_no_camera_is_said():
    scene = moving_cube()
    scene.camera = None
    with pytest.raises(SceneError, match="no camera"):
        captured_camera(scene, 96, 64)


def test_markers_switch_the_camera_as_in_a_render():
    scene = moving_cube()
    first = scene.camera
    bpy.ops.object.camera_add(location=(3, -6, 0), rotation=(1.5708, 0, 0.4))
    second = bpy.context.object
    scene.timeline_markers.new("one", frame=1).camera = first
    scene.timeline_markers.new("two", frame=7).camera = second
    frames = capture(scene, msgspec.structs.replace(REQUEST, start=1, end=9)).frames
    shown = [opencv_to_blender(frame.camera.world_to_camera)[0, 3] for frame in frames]
    assert np.allclose(shown, [0] * 6 + [3] * 3, atol=1e-5)


def test_an_animated_lens_is_followed():
    scene = moving_cube()
    data = scene.camera.data
    for frame, lens in ((1, 30), (9, 60)):
        data.lens = lens
        data.keyframe_insert("lens", frame=frame)
    frames = capture(scene, msgspec.structs.replace(REQUEST, start=1, end=9)).frames
    assert frames[-1].camera.intrinsics.fx == pytest.approx(2 * frames[0].camera.intrinsics.fx, rel=1e-5)
