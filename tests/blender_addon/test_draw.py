"""The fast drawer against the reference, against Cycles, and far from the origin."""

import os

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec

from diffusion_as_shader.blender_addon.benchmark_scene import build_benchmark_scene
from diffusion_as_shader.blender_addon.capture import draw
from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer, choose_drawer
from diffusion_as_shader.blender_addon.capture.frames import GeometryFrame
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.shared import tracking
from diffusion_as_shader.shared.camera import Camera, Intrinsics
from diffusion_as_shader.shared.request import GenerationRequest

from .drawing import near_edges
from .scenes import REQUEST, moving_cube

SHIFT = 20.0
WINDOW = Camera(Intrinsics(180, 120, 150.0, 150.0, 95.0, 55.0), np.eye(4), near=0.1)


@pytest.fixture(scope="module")
def gpu_drawer():
    if not draw.gpu_works():
        pytest.skip("the gpu module does not draw here")
    drawer, note = choose_drawer()
    assert drawer.name == "gpu" and note == ""
    yield drawer
    drawer.close()


def frame(positions, triangles, camera=WINDOW, tracked=None, objects=None) -> GeometryFrame:
    positions = np.asarray(positions, np.float32)
    count = len(positions)
    return GeometryFrame(
        frame=1.0,
        camera=camera,
        positions=positions,
        triangles=np.asarray(triangles, np.int32).reshape(-1, 3),
        rest=positions * np.float32(2) + np.float32(1),
        tracked=np.ones(count, bool) if tracked is None else tracked,
        objects=np.ones(count, np.uint16) if objects is None else objects,
    )


def soup(count: int, seed: int = 0) -> GeometryFrame:
    """Triangles all over, through the near plane and each other, each an object, every fifth one not tracked."""
    rng = np.random.default_rng(seed)
    middle = rng.uniform((-6, -4, -3), (6, 4, 12), (count, 1, 3))
    corners = middle + rng.normal(0, 1.5, (count, 3, 3))
    number = np.arange(count).repeat(3)
    return frame(corners.reshape(-1, 3), np.arange(3 * count), tracked=number % 5 > 0, objects=(number + 1).astype(np.uint16))


def agree(fast, plain, scale: float) -> None:
    """All but edge pixels alike; edges are where the plain drawing changes."""
    inside = ~near_edges(plain.depth, plain.objects, reach=0)
    assert inside.mean() > 0.3
    different = fast.objects != plain.objects
    assert not different[inside].any() and different.mean() < 0.002
    same = inside & ~different
    assert np.array_equal(fast.tracked[same], plain.tracked[same])
    assert np.array_equal(np.isfinite(fast.depth[same]), np.isfinite(plain.depth[same]))
    drawn = same & np.isfinite(plain.depth)
    assert np.abs(fast.depth - plain.depth)[drawn].max() < 1e-3 * scale
    assert np.abs(fast.rest - plain.rest)[drawn].max() < 2e-3 * scale


def test_triangles_all_over(gpu_drawer):
    agree(gpu_drawer.draw(soup(60)), NumpyDrawer().draw(soup(60)), scale=12)


def test_a_floor_through_the_near_plane(gpu_drawer):
    floor = frame([[-50, 1, -30], [50, 1, -30], [50, 1, 900], [-50, 1, 900]], [[0, 1, 2], [0, 2, 3]])
    fast, plain = gpu_drawer.draw(floor), NumpyDrawer().draw(floor)
    assert np.isfinite(plain.depth).mean() > 0.5
    drawn = np.isfinite(plain.depth) & np.isfinite(fast.depth)
    assert (np.isfinite(plain.depth) != np.isfinite(fast.depth)).mean() < 0.01
    relative = np.abs(fast.rest - plain.rest)[drawn].max(axis=-1) / plain.depth[drawn]
    assert np.percentile(relative, 99.9) < 1e-3


def test_surfaces_close_together_far_away_are_told_apart(gpu_drawer):
    """A millimetre at two hundred metres, with the near plane at a centimetre."""
    far = Camera(WINDOW.intrinsics, np.eye(4), near=0.01, far=1e5)
    square = np.array([[-60, -40, 0], [60, -40, 0], [60, 40, 0], [-60, 40, 0]])
    pair = frame(
        np.concatenate([square + [0, 0, 200.001], square + [0, 0, 200]]),
        [[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]],
        camera=far,
        objects=np.repeat([1, 2], 4).astype(np.uint16),
    )
    drawn = gpu_drawer.draw(pair)
    assert (drawn.objects == 2).sum() > 5000 and not (drawn.objects == 1).any()


def test_far_from_the_origin(gpu_drawer):
    """The same picture a thousand kilometres away, as exactly as f32 can say where that is."""
    here, away = soup(20, seed=3), np.array([1e6, -2e6, 5e5])
    pose = np.eye(4)
    pose[:3, 3] = -away
    there = frame(here.positions.astype(np.float64) + away, here.triangles, Camera(WINDOW.intrinsics, pose, near=0.1), here.tracked, here.objects)
    there.rest = there.positions.copy()
    fast, plain = gpu_drawer.draw(there), NumpyDrawer().draw(there)
    alike = (fast.objects == plain.objects) & fast.tracked
    assert alike.mean() > 0.1 and (fast.objects != plain.objects).mean() < 0.01
    assert np.abs(fast.rest - plain.rest)[alike].max() <= 0.5  # f32 steps there are 0.125


def test_nothing_to_draw(gpu_drawer):
    for drawer in (gpu_drawer, NumpyDrawer()):
        drawn = drawer.draw(frame(np.zeros((0, 3)), np.zeros((0, 3))))
        assert np.isinf(drawn.depth).all() and not drawn.tracked.any() and not drawn.objects.any() and not drawn.rest.any()


def test_buffers_are_used_again_only_where_nothing_changed(gpu_drawer):
    first, second = soup(10, seed=1), soup(10, seed=2)
    moved = msgspec.structs.replace(first, positions=first.positions + np.float32([0.5, 0, 0]))
    for each in (first, moved, second, moved):
        assert np.array_equal(gpu_drawer.draw(each).objects > 0, _fresh(each).objects > 0)


def _fresh(each):
    drawer, _ = choose_drawer()
    return drawer.draw(each)


def test_frames_of_a_scene(gpu_drawer):
    """Armature, subdivision and an orbiting camera at 100,000 triangles."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    captured = capture(build_benchmark_scene(), GenerationRequest(width=240, height=160, frames=9))
    for each in (captured.frames[0], captured.frames[5]):
        fast, plain = gpu_drawer.draw(each), NumpyDrawer().draw(each)
        assert plain.tracked.mean() > 0.1
        assert (fast.tracked != plain.tracked).mean() < 1e-3
        both = fast.tracked & plain.tracked & ~near_edges(plain.depth, plain.objects)
        assert (np.abs(fast.rest - plain.rest)[both].max(axis=-1) > 1e-3).mean() < 1e-4


def test_against_cycles(gpu_drawer):
    """First-frame positions emitted by Cycles, one sample, view transform Raw: at most 0.01 % of pixels off by more
    than one level of the colours that they give, edges apart."""
    scene = moving_cube()
    bpy.ops.mesh.primitive_uv_sphere_add(segments=48, ring_count=24, location=(0.4, 1.0, 0.3))
    bpy.ops.mesh.primitive_plane_add(size=30, location=(0, 0, -1))
    request = msgspec.structs.replace(REQUEST, width=240, height=160)
    scene.render.resolution_x, scene.render.resolution_y = request.width, request.height
    captured = capture(scene, request)
    drawn, camera = gpu_drawer.draw(captured.frames[0]), captured.frames[0].camera
    rest = _positions_by_cycles(scene, request)
    scale = tracking.depth_scale(drawn.rest[drawn.tracked], camera)
    ours = tracking.tracking_frame(drawn.rest, drawn.tracked, camera, scale).astype(int)
    theirs = tracking.tracking_frame(rest, drawn.tracked, camera, scale).astype(int)
    compared = drawn.tracked & ~near_edges(drawn.depth, drawn.objects)
    assert compared.mean() > 0.4
    assert (np.abs(ours - theirs).max(axis=-1)[compared] > 1).mean() <= 1e-4


def _positions_by_cycles(scene, request) -> np.ndarray:
    """f32 [H,W,3]: world position as an emission of Cycles, box-filtered to the pixel's centre."""
    for thing in scene.objects:
        if thing.type == "MESH":
            thing.data.materials.clear()
            thing.data.materials.append(_position_material())
    render = scene.render
    scene.frame_set(1)
    render.engine, scene.cycles.samples, scene.cycles.device = "CYCLES", 1, "CPU"
    scene.cycles.pixel_filter_type, scene.cycles.filter_width, scene.cycles.use_denoising = "BLACKMAN_HARRIS", 0.01, False
    scene.view_settings.view_transform, render.dither_intensity = "Raw", 0
    render.image_settings.file_format, render.image_settings.color_depth = "OPEN_EXR", "32"
    render.filepath = os.path.join(bpy.app.tempdir, "positions.exr")
    bpy.ops.render.render(write_still=True)
    image = bpy.data.images.load(render.filepath)
    image.colorspace_settings.name = "Non-Color"
    pixels = np.array(image.pixels[:], np.float32).reshape(request.height, request.width, 4)
    return np.ascontiguousarray(pixels[::-1, :, :3]) - np.float32(SHIFT)


def _position_material() -> bpy.types.Material:
    material = bpy.data.materials.get("Position")
    if material:
        return material
    material = bpy.data.materials.new("Position")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    geometry, emission, output = (nodes.new(kind) for kind in ("ShaderNodeNewGeometry", "ShaderNodeEmission", "ShaderNodeOutputMaterial"))
    shift = nodes.new("ShaderNodeVectorMath")  # nothing negative shines
    shift.operation, shift.inputs[1].default_value = "ADD", (SHIFT, SHIFT, SHIFT)
    links.new(geometry.outputs["Position"], shift.inputs[0])
    links.new(shift.outputs[0], emission.inputs["Color"])
    links.new(emission.outputs[0], output.inputs["Surface"])
    return material


def test_drawing_after_a_render_with_grease_pencil():
    """Such a render takes the gpu context away where there is no window."""
    scene = moving_cube()
    bpy.ops.object.grease_pencil_add(type="STROKE")
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.render.resolution_x, scene.render.resolution_y = 1, 16, 16
    with capture(scene, REQUEST) as captured:
        bpy.ops.render.render()
        drawer, _ = choose_drawer()
        assert drawer.draw(captured.frames[0]).tracked.any()
        drawer.close()
