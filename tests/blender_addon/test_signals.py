"""The tracking video: what each pixel's colour says, what is black, and when."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec

from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.capture.signals import draw_signals
from diffusion_as_shader.shared import tracking
from diffusion_as_shader.shared.camera import project
from diffusion_as_shader.shared.errors import Cancelled, SceneError

from .scenes import REQUEST, moving_cube


@pytest.fixture
def scene():
    """A cube that moves before a wall, in the window's aspect."""
    scene = moving_cube()
    scene.render.resolution_x, scene.render.resolution_y = REQUEST.width, REQUEST.height
    bpy.ops.mesh.primitive_plane_add(size=40, location=(0, 3, 0), rotation=(np.pi / 2, 0, 0))
    bpy.context.object.name = "Wall"
    return scene


def signals(scene, **changes):
    request = msgspec.structs.replace(REQUEST, **changes)
    captured = capture(scene, request)
    return captured, [frame for _, frame in draw_signals(captured, request, NumpyDrawer())]


def test_colours_point_to_where_the_surface_was(scene):
    captured, frames = signals(scene)
    number = captured.object_names.index("Cube") + 1
    camera = captured.frames[0].camera
    for frame in frames:
        cube = (frame.object == number) & frame.tracking.any(axis=-1)
        assert cube.sum() > 100
        place = tracking.first_frame_pixels(frame.tracking[cube], REQUEST.width, REQUEST.height)
        exact, _ = project(frame.rest[cube], camera)
        assert np.abs(place - exact).max() < max(REQUEST.width, REQUEST.height) / 255
    rows, columns = np.nonzero(frames[0].tracking.any(axis=-1))
    own = tracking.first_frame_pixels(frames[0].tracking[rows, columns], REQUEST.width, REQUEST.height)
    assert np.abs(own - np.stack([columns + 0.5, rows + 0.5], axis=1)).max() < 0.5  # frame 0 points to itself


def test_the_cube_carries_its_colours_along(scene):
    captured, frames = signals(scene)
    number = captured.object_names.index("Cube") + 1
    reds = [frame.tracking[frame.object == number][:, 0].mean() for frame in (frames[0], frames[-1])]
    across = [np.nonzero(frame.object == number)[1].mean() for frame in (frames[0], frames[-1])]
    assert abs(reds[0] - reds[1]) < 6 and across[1] - across[0] > 20


def test_percentiles_over_visible_pixels_or_all_vertices(scene):
    for choice in ("visible", "vertices"):
        captured, frames = signals(scene, percentiles=choice)
        first, camera = frames[0], captured.frames[0].camera
        points = first.rest[first.valid] if choice == "visible" else captured.frames[0].rest
        scale = tracking.depth_scale(points, camera)
        assert np.array_equal(first.tracking, tracking.tracking_frame(first.rest, first.valid, camera, scale))
    blues = [signals(scene, percentiles=choice)[1][0].tracking[..., 2].astype(int) for choice in ("visible", "vertices")]
    assert np.abs(blues[0] - blues[1]).max() > 20


def test_hidden_surface_is_projected_or_black(scene):
    """Where the cube stood in the first frame, the wall behind it appears."""
    captured, projected = signals(scene, hidden="project")
    _, black = signals(scene, hidden="black")
    first_depth, camera = projected[0].depth, captured.frames[0].camera
    last = projected[-1]
    hidden = np.zeros(last.valid.shape, bool)
    hidden[last.valid] = tracking.hidden_in_first_frame(last.rest[last.valid], first_depth, camera)
    assert 100 < hidden.sum() < hidden.size / 3
    assert last.tracking[hidden].any(axis=-1).all() and not black[-1].tracking[hidden].any()
    assert np.array_equal(black[-1].tracking[~hidden], last.tracking[~hidden])
    assert np.array_equal(black[0].tracking, projected[0].tracking)
    assert np.array_equal(black[-1].valid, last.valid)


def test_surface_that_was_off_screen_is_black_but_valid(scene):
    camera = scene.camera
    for frame, x in ((1, 0.0), (12, 3.0)):
        camera.location.x = x
        camera.keyframe_insert("location", frame=frame)
    captured, frames = signals(scene)
    last = frames[-1]
    pixels, _ = project(last.rest, captured.frames[0].camera)
    outside = last.valid & (pixels[..., 0] >= REQUEST.width)
    assert outside.sum() > 200 and not last.tracking[outside].any() and last.valid.all()
    seen = tracking.coverage(last.tracking, last.valid)
    assert seen.black == pytest.approx(outside.mean(), abs=0.01)


def test_colours_do_not_bleed_over_the_frames_border(scene):
    """The wall is one big face with all corners off screen: per-vertex colours would make it black."""
    _, frames = signals(scene)
    assert frames[0].tracking.any(axis=-1).all()


def test_nothing_beyond_the_cameras_end(scene):
    scene.camera.data.clip_end = 8.0
    captured, frames = signals(scene)
    for frame in frames:
        assert set(np.unique(frame.object)) == {0, captured.object_names.index("Cube") + 1}
        assert np.isinf(frame.depth[frame.object == 0]).all() and not frame.rest[frame.object == 0].any()


def test_a_padded_window_has_black_margins(scene):
    scene.render.resolution_x, scene.render.resolution_y = 96, 96
    captured, frames = signals(scene, fit="pad")
    for frame in frames:
        assert not frame.valid[:, :16].any() and not frame.valid[:, 80:].any() and frame.valid[:, 16:80].all()
        assert not frame.tracking[:, :16].any() and np.isinf(frame.depth[:, 80:]).all()


def test_no_visible_geometry(scene):
    for thing in scene.objects:
        thing.hide_render = thing.type == "MESH"
    with pytest.raises(SceneError, match="no visible geometry") as caught:
        signals(scene)
    assert caught.value.exit_code == 3 and caught.value.fix


def test_geometry_behind_the_camera_only(scene):
    scene.camera.rotation_euler = (-np.pi / 2, 0, 0)
    with pytest.raises(SceneError, match="no visible geometry"):
        signals(scene)


def test_progress_and_cancel(scene):
    captured, told = capture(scene, REQUEST), []
    with pytest.raises(Cancelled):
        for index, _ in draw_signals(
            captured, REQUEST, NumpyDrawer(), lambda done, total: told.append((done, total)), lambda: len(told) == 3
        ):
            assert index == len(told)
    assert told == [(1, 9), (2, 9), (3, 9)]
