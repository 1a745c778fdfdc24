"""Flow of what bends, zooms, is far away or comes and goes, against projections worked out apart from any drawing."""

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer, choose_drawer  # noqa: E402
from diffusion_as_shader.blender_addon.capture.flow import forward_flow  # noqa: E402
from diffusion_as_shader.blender_addon.capture.geometry import capture  # noqa: E402
from diffusion_as_shader.blender_addon.capture.signals import draw_signals  # noqa: E402
from diffusion_as_shader.shared.camera import project  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402

from . import analytic_scene as truth  # noqa: E402
from .drawing import near_edges  # noqa: E402

REQUEST = msgspec.structs.replace(truth.REQUEST, write=("flow",))


@pytest.fixture(params=["chosen", "numpy"])
def drawer(request):
    made = choose_drawer()[0] if request.param == "chosen" else NumpyDrawer()
    yield made
    made.close()


def flows(captured, request: GenerationRequest, drawer):
    """(index, the frame's signals, its flow) of all frames but the last."""
    for index, seen in draw_signals(captured, request, drawer):
        if index + 1 < len(captured.frames):
            yield index, seen, forward_flow(captured.frames[index], seen, captured.frames[index + 1], drawer)


def waving_cloth() -> bpy.types.Scene:
    """A fine grid that a shape key bends, before a camera that zooms."""
    scene = truth.build()
    for name in ("slider", "screen"):
        bpy.data.objects.remove(bpy.data.objects[name])
    x, z = np.meshgrid(np.linspace(-1.5, 1.5, 60), np.linspace(-1, 1, 40))
    flat = np.column_stack([x.ravel(), np.zeros(x.size), z.ravel()])
    faces = [(i, i + 1, i + 61, i + 60) for i in range(39 * 60) if i % 60 < 59]
    mesh = bpy.data.meshes.new("cloth")
    mesh.from_pydata(flat.tolist(), [], faces)
    cloth = bpy.data.objects.new("cloth", mesh)
    scene.collection.objects.link(cloth)
    cloth.shape_key_add(name="flat")
    bent = cloth.shape_key_add(name="bent")
    waves = flat + np.column_stack([0.1 * np.sin(3 * flat[:, 2]), 0.3 * np.sin(2 * flat[:, 0]), 0.2 * np.cos(2 * flat[:, 0])])
    bent.data.foreach_set("co", waves.ravel())
    for frame, value in ((1, 0.0), (truth.END, 1.0)):
        bent.value = value
        bent.keyframe_insert("value", frame=frame)
        scene.camera.data.lens = truth.LENS + 10 * value
        scene.camera.data.keyframe_insert("lens", frame=frame)
    return scene


def test_flow_is_the_difference_of_projected_vertices(drawer):
    """Each vertex of a bending cloth that is seen away from its border, under a zoom."""
    with capture(waving_cloth(), REQUEST) as captured:
        number = captured.object_names.index("cloth") + 1
        for index, seen, flow in flows(captured, REQUEST, drawer):
            here, there = captured.frames[index], captured.frames[index + 1]
            cloth = np.flatnonzero(here.objects == number)
            pixels, depth = project(here.positions[cloth].astype(float), here.camera)
            step = project(there.positions[cloth].astype(float), there.camera)[0] - pixels
            inner = (seen.object == number) & ~near_edges(seen.depth, seen.object, reach=2)
            columns, rows = np.floor(pixels).astype(int).T
            drawn = inner[rows, columns] & (np.abs(seen.depth[rows, columns] - depth) < 0.02)
            assert drawn.sum() > 1000
            assert np.abs(between(flow, pixels[drawn]) - step[drawn]).max() < 0.05
            assert np.abs(step).max() > 1


def between(picture, pixels):
    """Bilinearly between pixel centres."""
    left, top = np.floor(pixels - 0.5).astype(int).T
    right, down = (pixels - 0.5 - np.floor(pixels - 0.5)).T[..., None]
    upper = picture[top, left] * (1 - right) + picture[top, left + 1] * right
    lower = picture[top + 1, left] * (1 - right) + picture[top + 1, left + 1] * right
    return upper * (1 - down) + lower * down


def test_a_tracked_background_turns_with_the_camera(drawer):
    """Points that are infinitely far away, seen by both cameras; without tracking the background its flow is unknown."""
    scene = truth.build()
    bpy.data.objects.remove(bpy.data.objects["wall"])
    wanted = msgspec.structs.replace(REQUEST, background="world")
    with capture(scene, wanted) as captured:
        for index, seen, flow in flows(captured, wanted, drawer):
            empty = ~np.isfinite(seen.depth)
            rays = np.column_stack([(truth.pixel_centres() - (truth.WIDTH / 2, truth.HEIGHT / 2)) / truth.FOCAL, np.ones(empty.size)])
            turn = np.linalg.inv(truth.camera_pose(truth.TIMES[index + 1]))[:3, :3] @ truth.camera_pose(truth.TIMES[index])[:3, :3]
            x, y, z = turn @ rays.T
            there = np.column_stack([truth.FOCAL * x / z + truth.WIDTH / 2, truth.FOCAL * y / z + truth.HEIGHT / 2])
            assert np.abs(flow.reshape(-1, 2) - (there - truth.pixel_centres()))[empty.ravel()].max() < 0.01
        for index, seen, flow in flows(captured, REQUEST, drawer):
            assert np.array_equal(np.isnan(flow).any(axis=-1), ~np.isfinite(seen.depth))


def test_surface_that_comes_behind_the_camera_has_no_flow(drawer):
    """A board that the camera passes between two frames."""
    scene = truth.build()
    screen = bpy.data.objects["screen"]
    screen.animation_data_clear()
    for frame, y in ((1, -2.0), (5.4, -2.0), (5.6, -20.0)):
        screen.location.y = y
        screen.keyframe_insert("location", frame=frame)
    truth.straighten(screen)
    with capture(scene, REQUEST) as captured:
        number = captured.object_names.index("screen") + 1
        for index, seen, flow in flows(captured, REQUEST, drawer):
            gone = np.isnan(flow).any(axis=-1)
            assert np.array_equal(gone, (seen.object == number) if index == 2 else np.zeros_like(gone))
            if index == 2:
                assert gone.sum() > 500


def test_margins_of_a_padded_window_have_no_flow(drawer):
    scene = truth.build()
    scene.render.resolution_x = truth.HEIGHT
    padded = msgspec.structs.replace(REQUEST, fit="pad")
    with capture(scene, padded) as captured:
        _, seen, flow = next(flows(captured, padded, drawer))
    unknown = np.isnan(flow).any(axis=-1)
    assert unknown[:, :32].all() and unknown[:, -32:].all() and not unknown[:, 32:-32].any()
