"""Projection against exact truth: textured shapes under a moving camera, drawn by the reference rasteriser."""

import subprocess
import sys

import msgspec
import numpy as np
import pytest

from diffusion_as_shader.backend.engines import Frame, Progress, Report
from diffusion_as_shader.backend.engines.projection import ProjectionEngine
from diffusion_as_shader.shared import psnr, tracking
from diffusion_as_shader.shared.camera import Camera, Intrinsics
from diffusion_as_shader.shared.errors import Cancelled
from diffusion_as_shader.shared.rasterize import rasterize
from diffusion_as_shader.shared.request import GenerationRequest

WIDTH, HEIGHT, FRAMES = 240, 160, 9
SAMPLES = 3  # per pixel and axis, in the true renders
FLOOR, BALL, CARD = 1, 2, 3


class Scene(msgspec.Struct):
    """Signals as an engine gets them, true renders u8 [T,H,W,3] (every fourth frame) and what each pixel could know."""

    signals: dict[str, np.ndarray]
    truth: dict[int, np.ndarray]
    visible: dict[int, np.ndarray]


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene()


@pytest.fixture(scope="module")
def results(scene) -> dict[int, np.ndarray]:
    return project(scene.signals)


def make_scene() -> Scene:
    cameras = [camera_at(index / (FRAMES - 1)) for index in range(FRAMES)]
    drawn = [draw(index / (FRAMES - 1), camera) for index, camera in enumerate(cameras)]
    rest, objects, depth = (np.stack(parts) for parts in zip(*drawn))
    valid = objects > 0
    scale = tracking.depth_scale(rest[0][valid[0]], cameras[0])
    truth = {index: render(index / (FRAMES - 1), cameras[index]) for index in (0, 4, 8)}
    signals = {
        "tracking": np.stack([tracking.tracking_frame(r, v, cameras[0], scale) for r, v in zip(rest, valid)]),
        "first_frame": truth[0],
        "valid": valid,
        "rest": rest,
        "object": objects,
        "depth": depth,
        "K": np.stack([camera.intrinsics.matrix for camera in cameras]),
        "world_to_camera": np.stack([camera.world_to_camera for camera in cameras]),
    }
    visible = {
        index: psnr.visible_in_first_frame(rest[index], valid[index], depth[0], cameras[index], cameras[0]) for index in truth
    }
    return Scene(signals, truth, visible)


def camera_at(time: float, width: int = WIDTH, height: int = HEIGHT) -> Camera:
    """Moves to the right and turns to the left; looks slightly down."""
    turn, tilt = np.radians(8 * time), np.radians(12)
    sideways = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    downwards = np.array([[1, 0, 0], [0, np.cos(tilt), -np.sin(tilt)], [0, np.sin(tilt), np.cos(tilt)]])
    pose = np.eye(4)
    pose[:3, :3] = downwards @ sideways
    pose[:3, 3] = -pose[:3, :3] @ [0.6 * time, -1.2, 0.3 * time]
    return Camera(Intrinsics(width, height, width * 1.1, width * 1.1, width / 2, height / 2), pose, near=0.05)


def draw(time: float, camera: Camera):
    """rest f32 [H,W,3], object u16, depth f32 of floor, a rising turning ball, and a card that moves aside."""
    parts = [floor(), ball(), card()]
    moved = [parts[0][0], roll(parts[1][0], time), parts[2][0] + [1.1 * time, 0, 0]]
    offsets = np.cumsum([0, *(len(points) for points, _ in parts)])
    triangles = np.concatenate([faces + offset for (_, faces), offset in zip(parts, offsets)])
    owner = np.repeat([FLOOR, BALL, CARD], [len(faces) for _, faces in parts])
    raster = rasterize(np.concatenate(moved), triangles, np.concatenate([points for points, _ in parts]), camera)
    objects = np.where(raster.triangle >= 0, owner[raster.triangle], 0).astype(np.uint16)
    return raster.attributes, objects, raster.depth


def floor():
    corners = np.array([[-6, 0, 1.0], [6, 0, 1.0], [6, 0, 12], [-6, 0, 12]])
    return corners, np.array([[0, 1, 2], [0, 2, 3]])


def card():
    corners = np.array([[-1.0, -1.4, 3.2], [0.2, -1.4, 3.2], [0.2, -0.1, 3.2], [-1.0, -0.1, 3.2]])
    return corners, np.array([[0, 1, 2], [0, 2, 3]])


def ball(rings: int = 24, sides: int = 32):
    polar, around = np.meshgrid(np.linspace(0, np.pi, rings), np.arange(sides) * 2 * np.pi / sides, indexing="ij")
    points = np.stack([np.sin(polar) * np.cos(around), np.cos(polar), np.sin(polar) * np.sin(around)], axis=-1)
    first = np.arange(rings - 1)[:, None] * sides + np.arange(sides)
    second = np.arange(rings - 1)[:, None] * sides + (np.arange(sides) + 1) % sides
    faces = np.concatenate([np.stack([first, second, second + sides], -1), np.stack([first, second + sides, first + sides], -1)])
    return points.reshape(-1, 3) * 0.6 + [0.75, -0.7, 4.2], faces.reshape(-1, 3)


def roll(points: np.ndarray, time: float) -> np.ndarray:
    centre, angle = np.array([0.75, -0.7, 4.2]), np.radians(50 * time)
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    return (points - centre) @ turn.T + centre + [0.2 * time, -0.3 * time, 0]


def render(time: float, camera: Camera) -> np.ndarray:
    """The true picture u8 [H,W,3], anti-aliased: each surface's paint depends on its first-frame position only."""
    fine = camera_at(time, WIDTH * SAMPLES, HEIGHT * SAMPLES)
    rest, objects, _ = draw(time, fine)
    rows, columns = np.indices(objects.shape)
    rays = np.stack([columns + 0.5, rows + 0.5, np.ones(objects.shape)], -1) @ np.linalg.inv(fine.intrinsics.matrix).T
    sky = rays @ fine.world_to_camera[:3, :3]
    place = np.where(objects[..., None] > 0, rest, 3 * sky / np.linalg.norm(sky, axis=-1, keepdims=True))
    paint = 0.5 + 0.25 * np.sin(place @ PATTERN + PHASES[objects]) + SHADES[objects]
    return np.rint(255 * paint.clip(0, 1)).reshape(HEIGHT, SAMPLES, WIDTH, SAMPLES, 3).mean(axis=(1, 3)).round().astype(np.uint8)


PATTERN = np.array([[7.0, 2.0, -3.0], [3.0, -6.0, 5.0], [2.0, 3.0, 6.0]])
PHASES = np.array([[0.0, 0, 0], [1, 2, 3], [2, 4, 1], [5, 1, 4]])
SHADES = np.array([[-0.2, 0.0, 0.25], [0.0, 0.1, -0.2], [0.25, -0.2, -0.2], [0.1, 0.2, 0.2]])


def project(signals, request: GenerationRequest = GenerationRequest()) -> dict[int, np.ndarray]:
    events = list(ProjectionEngine().generate(request, signals, cancelled=lambda: False))
    return {event.index: event.pixels for event in events if isinstance(event, Frame)}


def only(signals, *names) -> dict[str, np.ndarray]:
    return {name: signals[name] for name in ("tracking", "first_frame", *names)}


def score(scene: Scene, results, visible: bool) -> float:
    chosen = [(results[i], scene.truth[i], scene.visible[i] == visible) for i in (4, 8)]
    errors, counts = zip(*(psnr.squared_error(*each) for each in chosen))
    return psnr.psnr_of_error(sum(errors), sum(counts))


def test_first_frame_comes_back_exactly(scene, results):
    assert np.abs(results[0].astype(int) - scene.truth[0]).max() <= 1
    colours_only = project(only(scene.signals))
    assert np.abs(colours_only[0].astype(int) - scene.truth[0]).max() <= 1


def test_visible_pixels_are_near_the_true_renders(scene, results):
    assert score(scene, results, visible=True) > 33


def test_hidden_pixels_are_filled_by_their_own_object(scene, results):
    """The card's hidden neighbours are the floor and the sky; neither may turn red or pale like the card."""
    assert score(scene, results, visible=False) > 15.2
    hidden_floor = ~scene.visible[8] & (scene.signals["object"][8] == FLOOR)
    assert hidden_floor.sum() > 500
    floor_mean = scene.truth[0][scene.signals["object"][0] == FLOOR].mean(axis=0)
    assert np.abs(results[8][hidden_floor].mean(axis=0) - floor_mean).max() < 30


def test_hidden_surface_does_not_show_its_occluder(scene):
    """A red card before a green world: what it uncovers, and all that it does not cover, stays green."""
    signals = dict(scene.signals)
    signals["first_frame"] = np.where((signals["object"][0] == CARD)[..., None], np.uint8([255, 0, 0]), np.uint8([0, 255, 0]))
    painted = project(signals)
    for index in (4, 8):
        card = signals["object"][index] == CARD
        assert (~scene.visible[index] & (signals["object"][index] == FLOOR)).sum() > 500
        assert (painted[index][~card] == [0, 255, 0]).all()
        assert (painted[index][card] == [255, 0, 0]).all()


def test_background_takes_nothing_from_surfaces(scene, results):
    """A red first frame before a blue sky: every background pixel stays as blue as the sky."""
    signals = dict(scene.signals)
    surface = signals["object"][0] > 0
    signals["first_frame"] = np.where(surface[..., None], np.uint8([255, 0, 0]), np.uint8([0, 0, 255]))
    painted = project(signals)
    for index in (4, 8):
        sky = scene.signals["object"][index] == 0
        assert (painted[index][sky] == [0, 0, 255]).all()
        assert (painted[index][~sky] == [255, 0, 0]).all()


def test_mixtures_at_depth_edges_leave_no_outline(scene):
    """The first frame's edge pixels are made white: none may be carried along by what moves apart."""
    signals = dict(scene.signals)
    from diffusion_as_shader.backend.engines.projection import Projection

    first = Projection(signals).first
    labels = signals["object"][0]
    edge = np.zeros(labels.shape, bool)
    for axis in (0, 1):
        differs = np.diff(labels.astype(int), axis=axis) != 0
        edge |= np.concatenate([differs, np.zeros_like(np.take(differs, [0], axis))], axis)
        edge |= np.concatenate([np.zeros_like(np.take(differs, [0], axis)), differs], axis)
    assert first.edge[edge].all()
    plain = np.full((HEIGHT, WIDTH, 3), 60, np.uint8)
    plain[edge] = 255
    signals["first_frame"] = plain
    moved = project(signals)[8]
    assert (moved.max(axis=-1) > 90).mean() < 0.002


def test_background_turns_with_the_camera(scene, results):
    """Sky that was on screen and free is right to a few levels; left where it was it would not be."""
    sky = scene.visible[8] & (scene.signals["object"][8] == 0)
    assert sky.sum() > 1000
    assert psnr.psnr(results[8], scene.truth[8], sky) > 30
    assert psnr.psnr(scene.truth[0], scene.truth[8], sky) < 25


def test_grazing_floor_is_not_taken_for_hidden(scene):
    from diffusion_as_shader.backend.engines.projection import Projection
    from diffusion_as_shader.backend.engines.projection_warp import unchanged_edges

    projection = Projection(scene.signals)
    view = projection.views.view(4)
    _, fetched = projection.first.fetch(view, unchanged_edges(view, view.pixels))
    seen = scene.visible[4] & (scene.signals["object"][4] == FLOOR)
    assert fetched[seen].mean() > 0.99


def test_tracking_and_first_frame_are_enough(scene):
    signals = only(scene.signals)
    events = list(ProjectionEngine().generate(GenerationRequest(), signals, cancelled=lambda: False))
    report = events[-1]
    assert report.used == ["tracking", "first_frame"] and "8-bit" in report.notes[0]
    results = {event.index: event.pixels for event in events if isinstance(event, Frame)}
    surface = scene.visible[4] & scene.signals["tracking"][4].any(axis=-1)
    assert psnr.psnr(results[4], scene.truth[4], surface) > 27


def test_without_depth_or_objects_geometry_still_serves(scene):
    signals = only(scene.signals, "valid", "rest", "K", "world_to_camera")
    assert score(scene, project(signals), visible=True) > 31


def test_surface_without_identity_is_filled_from_its_own_object(scene):
    """A ball that changed its mesh has no first-frame position: it stays red, and is not sky."""
    signals = dict(scene.signals, valid=scene.signals["valid"].copy())
    ball_now = signals["object"][4] == BALL
    signals["valid"][4] &= ~ball_now
    result = project(signals)[4]
    red, blue = result[ball_now].mean(axis=0)[[0, 2]]
    assert red > 2 * blue


def test_events_come_in_order_and_twice_the_same(scene, results):
    events = list(ProjectionEngine().generate(GenerationRequest(), scene.signals, cancelled=lambda: False))
    assert [event.index for event in events if isinstance(event, Frame)] == list(range(FRAMES))
    assert [event.step for event in events if isinstance(event, Progress)] == list(range(1, FRAMES + 1))
    assert isinstance(events[-1], Report) and "rest" in events[-1].used
    for event in events:
        if isinstance(event, Frame):
            assert np.array_equal(event.pixels, results[event.index])


def test_the_frames_that_an_earlier_attempt_made_are_left_out_and_the_rest_are_the_same(scene, results):
    have = frozenset([0, 1, 5])
    events = list(ProjectionEngine().generate(GenerationRequest(), scene.signals, cancelled=lambda: False, have=have))
    made = {event.index: event.pixels for event in events if isinstance(event, Frame)}
    assert made.keys() == set(range(FRAMES)) - have and isinstance(events[-1], Report)
    assert all(np.array_equal(pixels, results[index]) for index, pixels in made.items())


def test_signals_may_be_read_only(scene, results):
    locked = {name: array.copy() for name, array in scene.signals.items()}
    for array in locked.values():
        array.flags.writeable = False
    assert np.array_equal(project(locked)[8], results[8])


def test_cancel_stops_between_frames(scene):
    asked = iter([False, False, True])
    running = ProjectionEngine().generate(GenerationRequest(), scene.signals, cancelled=lambda: next(asked))
    made = []
    with pytest.raises(Cancelled):
        for event in running:
            made.append(event)
    assert sum(isinstance(event, Frame) for event in made) == 2


@pytest.mark.parametrize("first_frame_surface", ["all", "none"])
def test_frames_with_nothing_to_fetch_are_still_made(scene, first_frame_surface):
    """No background in the first frame, or nothing but background: no crash, no nan, the only colour there is."""
    signals = only(scene.signals)
    signals["first_frame"] = np.full((HEIGHT, WIDTH, 3), 77, np.uint8)
    signals["tracking"] = scene.signals["tracking"].copy()
    signals["tracking"][0] = 128 if first_frame_surface == "all" else 0
    assert all((frame == 77).all() for frame in project(signals).values())


def test_margins_of_a_padded_window_stay_black_and_out_of_the_sky(scene):
    """A white world under a black margin: below it nothing darkens, in it nothing shows."""
    signals = dict(scene.signals)
    for name in ("tracking", "valid", "object"):
        signals[name] = signals[name].copy()
        signals[name][:, :16] = 0
    signals["depth"] = np.where(signals["object"] > 0, signals["depth"], np.inf)
    signals["first_frame"] = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    signals["first_frame"][:16] = 0
    padded = project(signals, GenerationRequest(fit="pad"))
    for index in (0, 4, 8):
        assert (padded[index][:16] == 0).all() and (padded[index][16:] == 255).all()


def test_projection_imports_no_torch():
    code = "import sys, diffusion_as_shader.backend.engines.projection; print('torch' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.strip() == "False"
