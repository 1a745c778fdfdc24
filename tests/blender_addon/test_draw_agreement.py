"""Three drawings of one capture agree: the gpu module's, the reference rasteriser's, and a Cycles render of the same
colours, computed in shader nodes. Run as a program, this file is a session that says how it draws.

Edges are apart: there a pixel's centre lies so near a border that rounding decides what it shows.
"""

import hashlib
import json
import os
import subprocess
import sys

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon.cameras import WindowCamera  # noqa: E402
from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer, choose_drawer  # noqa: E402
from diffusion_as_shader.blender_addon.capture.frames import GeometryFrame  # noqa: E402
from diffusion_as_shader.blender_addon.capture.geometry import Capture, capture  # noqa: E402
from diffusion_as_shader.blender_addon.capture.signals import SignalFrame, draw_signals  # noqa: E402
from diffusion_as_shader.blender_addon.images import BlenderImages  # noqa: E402
from diffusion_as_shader.shared import tracking  # noqa: E402
from diffusion_as_shader.shared.camera import Camera, Intrinsics  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402

WIDTH, HEIGHT = 720, 480
AT_MOST = 1e-4  # of the surface's pixels, edges apart
STEEP = 0.02  # of the depth: more than this from one pixel to the next is an edge


@pytest.fixture(scope="module")
def gpu_drawer():
    drawer, note = choose_drawer()
    if note:
        pytest.skip(note)
    yield drawer
    drawer.close()


@pytest.fixture(autouse=True)
def empty_file_afterwards():
    yield
    bpy.ops.wm.read_factory_settings(use_empty=True)


@pytest.mark.parametrize(("name", "hidden"), [("robot_dance", "black"), ("fox_run", "project")])
def test_the_gpu_draws_what_the_reference_draws(gpu_drawer, shared_data, name, hidden):
    captured, request = open_and_capture(shared_data / f"{name}.blend", hidden)
    assert_drawn_alike(captured, request, gpu_drawer)


@pytest.mark.parametrize(("origin", "hidden"), [(0.0, "black"), (1e5, "project")])
def test_they_agree_near_the_camera_and_far_from_the_origin(gpu_drawer, origin, hidden):
    captured = Filmed([ground_frame(step, origin) for step in range(3)])
    assert captured.frames[0].positions[:4, 2].min() < origin - 10  # the ground goes on behind the camera
    assert_drawn_alike(captured, window_request(hidden), gpu_drawer)


@pytest.mark.parametrize("name", ["robot_dance", "fox_run"])
def test_cycles_renders_the_same_colours(gpu_drawer, shared_data, name, tmp_path):
    captured, request = open_and_capture(shared_data / f"{name}.blend", "project")
    signals = drawn_signals(captured, request, gpu_drawer)
    scale = tracking.depth_scale(signals[0].rest[signals[0].valid], captured.frames[0].camera)
    later = captured.frames[1]
    rendered = render_by_cycles(later, request, captured.frames[0].camera, scale, tmp_path / "colours.png")
    inner = ~edges(signals[1]) & (signals[1].valid | rendered.any(axis=-1))
    assert_agreement(colours_differ(rendered, signals[1].tracking), inner)


@pytest.mark.skipif(sys.platform != "linux", reason="EGL's variable is Linux's")
def test_without_egl_numpy_draws_and_says_so(tmp_path):
    hidden_egl = os.environ | {"__EGL_VENDOR_LIBRARY_FILENAMES": "/nonexistent", "TMPDIR": str(tmp_path)}
    session = subprocess.run([sys.executable, __file__], env=hidden_egl, capture_output=True, text=True, timeout=150)
    assert session.returncode == 0, session.stderr
    said = json.loads(session.stdout.splitlines()[-1])
    assert said["drawer"] == "numpy" and "EGL" in said["note"]
    assert said["processes"] == [1, 1]  # the first choice asks in a process of its own, the second knows
    assert said["digest"] == digest(NumpyDrawer(), ground_frame(1))


def window_request(hidden: str, start: float = 1, end: float = 3) -> GenerationRequest:
    return GenerationRequest(width=WIDTH, height=HEIGHT, frames=3, start=start, end=end, hidden=hidden)


class Filmed:
    """As much of a Capture as drawing asks for."""

    def __init__(self, frames: list[GeometryFrame]):
        self.frames = frames
        self.cameras = [frame.camera for frame in frames]


def open_and_capture(file, hidden: str) -> tuple[Capture, GenerationRequest]:
    bpy.ops.wm.open_mainfile(filepath=str(file))
    scene = bpy.context.scene
    request = window_request(hidden, scene.frame_start, scene.frame_end - 5)  # the middle one lies between two whole frames
    return capture(scene, request), request


def ground_frame(step: int, origin: float = 0.0) -> GeometryFrame:
    """Sloping ground that the camera comes through, a box that slides over it, and a board nobody follows."""
    ground = np.array([(x, 0.2 + 0.05 * x + 0.1 * z, z) for x in (-30, 30) for z in (-30, 40)])
    box = np.array([(x, y, z) for x in (-1, 0.5) for y in (-0.9, 0.6) for z in (6, 7.5)])
    board = np.array([(1.0, -0.5, 4), (1.6, -0.5, 4), (1.0, 0.2, 4.5), (1.6, 0.2, 4.5)])
    rest = np.concatenate([ground, box, board]) + origin
    positions = rest.copy()
    positions[4:12, 0] += 0.7 * step
    quads = [(0, 1, 2, 3), (4, 5, 6, 7), (8, 9, 10, 11), (4, 5, 8, 9), (6, 7, 10, 11), (4, 6, 8, 10), (5, 7, 9, 11), (12, 13, 14, 15)]
    triangles = np.array([corners for a, b, c, d in quads for corners in ((a, b, c), (b, d, c))], np.int32)
    objects = np.repeat([1, 2, 3], [4, 8, 4]).astype(np.uint16)
    return GeometryFrame(
        float(step), ground_camera(step, origin), positions.astype(np.float32), triangles, rest.astype(np.float32), objects != 3, objects
    )


def ground_camera(step: int, origin: float) -> Camera:
    """0.2 above the ground, then 0.1, then 0.05 below; it turns a little, and what is nearer than 1 is cut."""
    turn = 0.03 * step
    pose = np.eye(4)
    pose[:3, :3] = [(np.cos(turn), 0, -np.sin(turn)), (0, 1, 0), (np.sin(turn), 0, np.cos(turn))]
    pose[:3, 3] = -pose[:3, :3] @ (np.full(3, origin) + (0, (0, 0.1, 0.25)[step], 0))
    return Camera(Intrinsics(WIDTH, HEIGHT, 700, 700, 371, 229), pose, near=1.0)


def drawn_signals(captured: Capture, request: GenerationRequest, drawer) -> list[SignalFrame]:
    return [signals for _, signals in draw_signals(captured, request, drawer)]


def assert_drawn_alike(captured: Capture, request: GenerationRequest, drawer) -> None:
    fast, reference = (drawn_signals(captured, request, each) for each in (drawer, NumpyDrawer()))
    differ = np.stack([differs(*pair) for pair in zip(fast, reference)])
    inner = np.stack([~(edges(one) | edges(other)) & ((one.object > 0) | (other.object > 0)) for one, other in zip(fast, reference)])
    assert_agreement(differ, inner)


def assert_agreement(differ: np.ndarray, inner: np.ndarray) -> None:
    """Of the pixels that are no edges at most AT_MOST differ, and hardly more of all, or edges would excuse anything."""
    print(f"{differ[inner].sum()} of {inner.sum()} pixels differ, {differ.sum()} of {differ.size} with the edges")
    assert inner.mean() > 0.1, "too little surface is left to compare"
    assert differ[inner].mean() <= AT_MOST
    assert differ.mean() <= AT_MOST


def differs(one: SignalFrame, other: SignalFrame) -> np.ndarray:
    """bool [H,W]: another object, colour, depth (by 0.01 %) or first-frame position (by about a pixel's width)."""
    apart = np.abs(one.rest - other.rest).max(axis=-1)
    allowed = 1e-3 * np.where(one.object > 0, one.depth, 0) + np.spacing(np.abs(one.rest).max())
    return (
        (one.object != other.object)
        | (one.valid != other.valid)
        | colours_differ(one.tracking, other.tracking)
        | ~np.isclose(one.depth, other.depth, rtol=1e-4)
        | (apart > allowed)
    )


def colours_differ(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """bool [H,W]: by more than one level."""
    return np.abs(one.astype(int) - other).max(axis=-1) > 1


def edges(seen: SignalFrame) -> np.ndarray:
    """bool [H,W]: a neighbour shows another object, is black where this one is not, or lies a step away, now or at first."""
    black = ~seen.tracking.any(axis=-1)
    depth = np.where(seen.object > 0, seen.depth, 0)
    found = np.zeros(black.shape, bool)
    for here, there in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        steep = STEEP * np.minimum(depth[here], depth[there])
        step = (seen.object[here] != seen.object[there]) | (black[here] != black[there])
        step |= np.abs(depth[here] - depth[there]) > steep
        step |= np.abs(seen.rest[here] - seen.rest[there]).max(axis=-1) > steep
        found[here] |= step
        found[there] |= step
    return found


def render_by_cycles(frame: GeometryFrame, request, first: Camera, scale: tracking.DepthScale, file) -> np.ndarray:
    """u8 [H,W,3]: one sample a pixel, at its centre, of a mesh that shines in the tracking colours."""
    bpy.context.scene.frame_set(int(frame.frame), subframe=frame.frame % 1)
    window = WindowCamera(bpy.context.evaluated_depsgraph_get(), request)
    scene = bpy.data.scenes.new("Colours")
    mesh = bpy.data.meshes.new("Colours")
    mesh.from_pydata(frame.positions, [], frame.triangles)
    seen_at_first = frame.rest @ first.world_to_camera[:3, :3].T + first.world_to_camera[:3, 3]
    mesh.attributes.new("seen_at_first", "FLOAT_VECTOR", "POINT").data.foreach_set("vector", seen_at_first.astype(np.float32).ravel())
    mesh.materials.append(shining_material(first.intrinsics, scale))
    scene.collection.objects.link(bpy.data.objects.new("Colours", mesh))
    set_exact_output(scene)
    with window.temporary() as camera:
        camera.data.dof.use_dof = False
        scene.camera = camera
        bpy.ops.render.render(scene=scene.name)
    bpy.data.images["Render Result"].save_render(str(file), scene=scene)
    return BlenderImages().read(file)


def set_exact_output(scene) -> None:
    render, cycles = scene.render, scene.cycles
    render.engine, cycles.device, cycles.samples = "CYCLES", "CPU", 1
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.pixel_filter_type, cycles.filter_width = "BLACKMAN_HARRIS", 0.01
    cycles.max_bounces = 0
    render.resolution_x, render.resolution_y, render.resolution_percentage = WIDTH, HEIGHT, 100
    render.use_sequencer = render.use_compositing = False
    render.dither_intensity = 0
    scene.view_settings.view_transform = "Raw"
    render.image_settings.file_format, render.image_settings.color_mode = "PNG", "RGB"


def shining_material(window: Intrinsics, scale: tracking.DepthScale):
    """The colour code in shader nodes, per pixel from the interpolated place before the first camera."""
    material = bpy.data.materials.new("Colours")
    if material.node_tree is None:  # 4.5
        material.use_nodes = True
    material.cycles.emission_sampling = "NONE"
    tree = material.node_tree
    tree.nodes.clear()

    def node(kind, *inputs, operation=None):
        made = tree.nodes.new("ShaderNode" + kind)
        if operation:
            made.operation = operation
        for socket, value in zip(made.inputs, inputs):
            if isinstance(value, bpy.types.NodeSocket):
                tree.links.new(value, socket)
            else:
                socket.default_value = value
        return made

    def math(operation, *inputs):
        return node("Math", *inputs, operation=operation).outputs[0]

    attribute = node("Attribute")
    attribute.attribute_name = "seen_at_first"
    place = attribute.outputs["Vector"]
    x, y, z = node("SeparateXYZ", place).outputs
    distance = node("VectorMath", place, operation="LENGTH").outputs["Value"]
    red = math("DIVIDE", math("MULTIPLY_ADD", math("DIVIDE", x, z), window.fx, window.cx), window.width)
    green = math("DIVIDE", math("MULTIPLY_ADD", math("DIVIDE", y, z), window.fy, window.cy), window.height)
    blue = math("DIVIDE", math("SUBTRACT", math("DIVIDE", 1.0, distance), scale.low), scale.high - scale.low)
    blue = math("MINIMUM", math("MAXIMUM", blue, 0.0), 1.0)
    shown = math("GREATER_THAN", z, 0.0)
    for share in (red, green):
        shown = math("MULTIPLY", shown, math("MULTIPLY", math("GREATER_THAN", share, 0.0), math("LESS_THAN", share, 1.0)))
    emission = node("Emission", node("CombineXYZ", red, green, blue).outputs[0], shown)
    node("OutputMaterial", emission.outputs[0])
    return material


def digest(drawer, frame: GeometryFrame) -> str:
    drawn = drawer.draw(frame)
    arrays = (drawn.rest, drawn.tracked, drawn.objects, drawn.depth)
    return hashlib.sha256(b"".join(np.ascontiguousarray(each).tobytes() for each in arrays)).hexdigest()


def a_session() -> None:
    """Choose twice, draw once, and print what came of it."""
    started, processes = [], []
    sys.addaudithook(lambda event, _: started.append(event) if event == "subprocess.Popen" else None)
    for _ in range(2):
        drawer, note = choose_drawer()
        processes.append(len(started))
    print(json.dumps({"drawer": drawer.name, "note": note, "processes": processes, "digest": digest(drawer, ground_frame(1))}))


if __name__ == "__main__":
    a_session()
