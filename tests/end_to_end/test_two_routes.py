"""Two routes, one answer: a tracking video from the first frame's true depth and the camera's path, or an object's, by the
backend's tasks is the one that Blender's capture draws of the scene itself, wherever both see."""

import subprocess
from pathlib import Path
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from diffusion_as_shader.blender_addon.capture.draw import choose_drawer  # noqa: E402
from diffusion_as_shader.blender_addon.capture.geometry import capture  # noqa: E402
from diffusion_as_shader.blender_addon.capture.signals import draw_signals  # noqa: E402
from diffusion_as_shader.shared.cli import find_environment  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402

REQUEST = GenerationRequest(width=360, height=240, frames=9, start=1, end=9, hidden="black")
LEVELS, SHARE = 3, 0.005
EDGE = 2  # pixels around a depth edge
SECONDS = 240.0


class Route(msgspec.Struct):
    """A capture's signals, stacked, and its cameras."""

    tracking: np.ndarray
    depth: np.ndarray
    object: np.ndarray
    K: np.ndarray
    world_to_camera: np.ndarray
    names: list[str]


def captured(scene, request=REQUEST) -> Route:
    """Blender's own route."""
    with capture(scene, request) as found:
        return drawn(found, request)


def drawn(found, request) -> Route:
    drawer, _ = choose_drawer()
    frames = [frame for _, frame in draw_signals(found, request, drawer)]
    drawer.close()
    return Route(
        tracking=np.stack([frame.tracking for frame in frames]),
        depth=np.stack([frame.depth for frame in frames]),
        object=np.stack([frame.object for frame in frames]),
        K=np.stack([camera.intrinsics.matrix for camera in found.cameras]),
        world_to_camera=np.stack([camera.world_to_camera for camera in found.cameras]),
        names=found.object_names,
    )


def by_task(request: GenerationRequest, route: Route, folder: Path, **inputs: np.ndarray) -> dict[str, np.ndarray]:
    """The other route: the backend's Python gets the first frame's depth, and what moves."""
    still = {
        "source": np.zeros((1, request.height, request.width, 3), np.uint8),
        "source_depth": route.depth[:1].astype(np.float32),
        "source_K": route.K[:1],
    }
    text = np.frombuffer(msgspec.json.encode(request), np.uint8)
    np.savez(folder / "inputs.npz", request=text, **still, **inputs)
    script = Path(__file__).with_name("run_task.py")
    command = [find_environment("backend").python, script, folder / "inputs.npz", folder / "made.npz"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=SECONDS)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "made.npz"))


def depth_edges(depth: np.ndarray, objects: np.ndarray) -> np.ndarray:
    """bool [H,W]: within EDGE pixels of a jump in depth, or of a border between objects."""
    near = np.where(np.isfinite(depth), depth, 1e6)
    edge = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        step = (np.abs(np.diff(near, axis=axis)) > 0.05 * np.minimum(*sides(near, axis))) | (np.diff(objects.astype(int), axis=axis) != 0)
        low, high = sides(edge, axis)
        low |= step
        high |= step
    for _ in range(EDGE - 1):
        grown = edge.copy()
        for axis in (0, 1):
            (low, high), (before, after) = sides(grown, axis), sides(edge, axis)
            low |= after
            high |= before
        edge = grown
    return edge


def sides(array: np.ndarray, axis: int) -> tuple[np.ndarray, np.ndarray]:
    """Views without the last, and without the first, along an axis."""
    along = np.moveaxis(array, axis, 0)
    return np.moveaxis(along[:-1], 0, axis), np.moveaxis(along[1:], 0, axis)


def differing(route: Route, made: dict[str, np.ndarray]) -> list[tuple[float, float]]:
    """Of each frame: the share of pixels off by more than LEVELS, and of all pixels the share that both see."""
    shares = []
    for index in range(len(route.tracking)):
        both = made["valid"][index] & route.tracking[index].any(axis=-1) & ~depth_edges(route.depth[index], route.object[index])
        off = np.abs(route.tracking[index].astype(int) - made["tracking"][index]).max(axis=-1) > LEVELS
        shares.append((float(off[both].mean()), float(both.mean())))
    return shares


def assert_one_answer(route: Route, made: dict[str, np.ndarray], seen: float) -> None:
    shares = differing(route, made)
    print([f"{100 * off:.2f} % of {100 * both:.0f} %" for off, both in shares])
    assert all(off <= SHARE for off, _ in shares), shares
    assert all(both >= seen for _, both in shares), shares


def key(thing, path: str, values: dict) -> None:
    for frame, value in values.items():
        setattr(thing, path, value)
        thing.keyframe_insert(path, frame=frame)


@pytest.fixture
def room():
    """A floor, a wall, a ball and two boxes; a camera that looks at them from above."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 9
    scene.render.resolution_x, scene.render.resolution_y = REQUEST.width, REQUEST.height
    bpy.ops.mesh.primitive_plane_add(size=20)
    bpy.ops.mesh.primitive_plane_add(size=20, location=(0, 5, 0), rotation=(np.pi / 2, 0, 0))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=1, location=(-1.6, 1, 1), segments=64, ring_count=32)
    bpy.ops.mesh.primitive_cube_add(size=1.4, location=(1.5, 0.5, 0.7), rotation=(0, 0, 0.5))
    bpy.context.object.name = "Box"
    bpy.ops.mesh.primitive_cube_add(size=0.8, location=(0.2, -1.5, 0.4), rotation=(0, 0, 0.2))
    bpy.ops.object.camera_add(location=(0, -8, 3.2), rotation=(np.radians(75), 0, 0))
    scene.camera = bpy.context.object
    yield scene
    bpy.ops.wm.read_factory_settings(use_empty=True)


def camera_control(route: Route, folder: Path, request=REQUEST) -> dict[str, np.ndarray]:
    request = msgspec.structs.replace(request, task="camera_control")
    return by_task(request, route, folder, world_to_camera=route.world_to_camera, K=route.K)


@pytest.mark.parametrize("move", ["in and up", "orbit and zoom"])
def test_a_moving_camera(room, tmp_path, move):
    camera = room.camera
    if move == "in and up":
        key(camera, "location", {1: (0, -8, 3.2), 9: (0.2, -6.6, 3.8)})
        key(camera, "rotation_euler", {1: (np.radians(75), 0, 0), 9: (np.radians(70), 0, np.radians(4))})
    if move == "orbit and zoom":
        angle = np.radians(12)
        key(camera, "location", {1: (0, -8, 3.2), 9: (8 * np.sin(angle), -8 * np.cos(angle), 3.2)})
        key(camera, "rotation_euler", {1: (np.radians(75), 0, 0), 9: (np.radians(75), 0, angle)})
        key(camera.data, "lens", {1: 50, 9: 58})
    route = captured(room)
    made = camera_control(route, tmp_path)
    assert np.allclose(made["K"], route.K)
    assert_one_answer(route, made, seen=0.6)


def test_an_object_that_follows_an_empty(room, tmp_path):
    """A box is a child of an empty that goes and turns; the task gets the box's matte and the empty's motion."""
    empty = bpy.data.objects.new("Empty", None)
    empty.location = (1.5, 0.5, 0)
    room.collection.objects.link(empty)
    box = bpy.data.objects["Box"]
    bpy.context.view_layer.update()
    box.parent, box.matrix_parent_inverse = empty, empty.matrix_world.inverted()
    key(empty, "location", {1: (1.5, 0.5, 0), 9: (0.6, -0.9, 0.9)})
    key(empty, "rotation_euler", {1: (0, 0, 0), 9: (0.2, 0, 0.5)})
    places = []
    for frame in range(1, 10):
        room.frame_set(frame)
        places.append(np.array(empty.evaluated_get(bpy.context.evaluated_depsgraph_get()).matrix_world))
    route = captured(room)
    E = route.world_to_camera[0]
    motion = np.stack([E @ place @ np.linalg.inv(places[0]) @ np.linalg.inv(E) for place in places])
    request = msgspec.structs.replace(
        REQUEST, task="object_manipulation", object=msgspec.structs.replace(REQUEST.object, motion="follow", follow="Empty")
    )
    mask = route.object[0] == route.names.index("Box") + 1
    assert 0.005 < mask.mean() < 0.25
    made = by_task(request, route, tmp_path, mask=mask, object_motion=motion)
    assert_one_answer(route, made, seen=0.6)
    assert (np.abs(route.tracking[0].astype(int) - route.tracking[-1]).max(axis=-1) > 20).mean() > 0.02  # it did move


def test_robot_dance_held_still(shared_data, tmp_path):
    """The dancer as in the middle of the dance, and the scene's own orbiting camera."""
    bpy.ops.wm.open_mainfile(filepath=str(shared_data / "robot_dance.blend"))
    scene = bpy.context.scene
    request = msgspec.structs.replace(REQUEST, start=20, end=28)
    with capture(scene, request) as found:
        first = msgspec.structs.replace(found.frames[0], positions=np.array(found.frames[0].positions))
        frames = [msgspec.structs.replace(first, camera=camera) for camera in found.cameras]
        route = drawn(SimpleNamespace(frames=frames, cameras=found.cameras, object_names=found.object_names), request)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert_one_answer(route, camera_control(route, tmp_path, request), seen=0.3)
