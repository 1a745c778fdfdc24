"""The benchmarks measure what they say."""

import argparse
import io
import json
import subprocess
import sys

import pytest

bpy = pytest.importorskip("bpy")

import numpy as np  # noqa: E402

from diffusion_as_shader.blender_addon.benchmark_scene import build_benchmark_scene  # noqa: E402
from diffusion_as_shader.blender_addon.capture.draw import choose_drawer  # noqa: E402
from diffusion_as_shader.blender_addon.commands import benchmark_sizes, benchmark_tracking  # noqa: E402
from diffusion_as_shader.blender_addon.commands.benchmark_projection import compare  # noqa: E402
from diffusion_as_shader.blender_addon.example_scene import build_example_scene  # noqa: E402
from diffusion_as_shader.blender_addon.flat_light import light_flatly  # noqa: E402
from diffusion_as_shader.blender_addon.images import BlenderImages  # noqa: E402
from diffusion_as_shader.shared import tracking  # noqa: E402
from diffusion_as_shader.shared.camera import Camera, Intrinsics, camera_path  # noqa: E402
from diffusion_as_shader.shared.report import JsonReporter, Reporter  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402
from diffusion_as_shader.shared.take import Take  # noqa: E402


@pytest.fixture
def empty_file():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    yield
    bpy.ops.wm.read_factory_settings(use_empty=True)


def test_the_built_scene_has_100000_triangles_and_bends(empty_file):
    scene = build_benchmark_scene()
    meshes = []
    for frame in (1, 20):
        scene.frame_set(frame)
        evaluated = scene.objects["Tube"].evaluated_get(bpy.context.evaluated_depsgraph_get())
        mesh = evaluated.to_mesh()
        mesh.calc_loop_triangles()
        assert 95_000 < len(mesh.loop_triangles) < 105_000
        positions = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", positions)
        meshes.append(positions)
        evaluated.to_mesh_clear()
    assert np.abs(meshes[1] - meshes[0]).max() > 0.3


def test_the_plain_python_loop_makes_the_same_colours():
    points, camera, scale = benchmark_tracking.colouring_case()
    points[:50, 2] = -1  # behind the camera
    expected = tracking.colour(points, camera, scale)
    assert (expected == 0).all(axis=-1).any() and (expected > 0).any()
    assert np.allclose(benchmark_tracking.colour_plainly(points.tolist(), camera, scale), expected, atol=1e-6)


def test_tracking_reports_every_figure_and_never_fails_on_time(empty_file, monkeypatch):
    monkeypatch.setattr(benchmark_sizes, "SIZES", (1_000,))
    out = io.StringIO()
    args = argparse.Namespace(file=None, size="96x64", count=9, frames="1:9")
    assert benchmark_tracking.run(args, JsonReporter(out, io.StringIO())) == 0
    results = [json.loads(line) for line in out.getvalue().splitlines()]
    figures = next(line for line in results if line.get("capture"))
    assert figures["triangles"] > 95_000 and figures["frames"] == 9 and figures["reference_frames"] == 3
    for name in ("capture", "bare_loop", "drawing", "reference", "capture_ratio", "drawing_ratio"):
        assert figures[name] > 0
    assert next(line for line in results if "colouring_ratio" in line)["colouring_ratio"] > 1


def test_memory_grows_with_a_frame_and_not_with_the_shot(empty_file):
    drawer, _ = choose_drawer()
    silent = Reporter(io.StringIO(), io.StringIO())
    small, larger = benchmark_sizes.measure_sizes((2_000, 20_000), drawer, silent, repeats=1)
    for sized in (small, larger):
        short, long = sized.memory  # of 9 and of 33 frames
        assert long < 1.05 * short
    assert larger.memory[0] > small.memory[0] and min(larger.capture, small.capture) > 0


def test_flat_light_gives_every_surface_its_own_colour(empty_file, tmp_path):
    scene = build_example_scene()
    light_flatly(scene)
    scene.cycles.samples = 1
    scene.render.resolution_x, scene.render.resolution_y = 96, 64
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(tmp_path / "flat.png")
    bpy.ops.render.render(write_still=True)
    pixels = BlenderImages().read(tmp_path / "flat.png")
    sky = np.abs(pixels.astype(int) - (158, 204, 242)).max(axis=-1) <= 2
    assert sky[:8].mean() > 0.5
    sign = np.abs(pixels.astype(int) - (250, 158, 31)).max(axis=-1) <= 2  # no shading at all
    assert sign.sum() > 60


def test_flat_light_reaches_materials_without_nodes(empty_file, shared_data, tmp_path):
    bpy.ops.wm.open_mainfile(filepath=str(shared_data / "robot_dance.blend"))
    scene = bpy.context.scene
    light_flatly(scene)
    scene.cycles.samples = 1
    scene.render.dither_intensity = 0
    scene.render.resolution_x, scene.render.resolution_y = 96, 64
    scene.render.image_settings.file_format = "PNG"
    scene.render.filepath = str(tmp_path / "flat.png")
    bpy.ops.render.render(write_still=True)
    pixels = BlenderImages().read(tmp_path / "flat.png").reshape(-1, 3)
    _, counts = np.unique(pixels, axis=0, return_counts=True)
    assert np.sort(counts)[-6:].sum() > 0.97 * len(pixels)  # sky, two tiles, orange, grey, black


def test_compare_tells_visible_pixels_from_the_others(tmp_path):
    request = GenerationRequest(width=32, height=16, frames=9, start=1, end=9)
    take = Take.create(tmp_path / "take", request, BlenderImages())
    camera = Camera(Intrinsics(32, 16, 20.0, 20.0, 16.0, 8.0), np.eye(4))
    take.write_camera_path(camera_path([camera] * 9, np.arange(1, 10), 24))
    valid = np.ones((9, 16, 32), bool)
    rest = np.zeros((9, 16, 32, 3), np.float32)
    rest[..., 0], rest[..., 1] = np.meshgrid((np.arange(32) + 0.5 - 16) / 20 * 5, (np.arange(16) + 0.5 - 8) / 20 * 5)
    rest[..., 2] = 5
    rest[8, :, 16:] += (0, 0, 5)  # at the end the right half shows what lay behind
    depth = np.full((9, 16, 32), 5, np.float32)
    take.write_signals({"valid": valid, "rest": rest, "object": np.ones_like(valid, np.uint16), "depth": depth})
    truth = np.full((16, 32, 3), 100, np.uint8)
    result = truth.copy()
    result[:, 16:] += 10
    for index in range(9):
        take.write_tracking_frame(index, truth)
        take.write_frame(index, result)
    take.write_first_frame(truth)
    figures = compare(take, {8: truth})
    assert figures["visible"][0] == float("inf")
    assert figures["others"][0] == pytest.approx(20 * np.log10(255 / 10))
    assert 0.3 < figures["others"][1] < 0.6
    assert sum(figures[part][1] for part in ("visible", "others")) == pytest.approx(1)


def test_the_trackers_are_measured_on_renders_with_true_tracks(empty_file, tmp_path):
    """The whole command: Blender renders a small example, the backend's Python tracks it and compares."""
    take = tmp_path / "clip"
    args = ["benchmark", "tracks", "--size", "192x128", "--count", "9", "--frames", "1:9", "--first-frame", "workbench", "-o", str(take), "--json"]
    done = subprocess.run([sys.executable, "-m", "diffusion_as_shader", *args], capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    found = {line["tracker"]: line for line in map(json.loads, done.stdout.splitlines()) if line.get("tracker")}
    assert set(found) == {"dis", "lucas_kanade"}
    for figures in found.values():
        assert 0.5 < figures["within"]["4"] <= figures["within"]["8"] <= 1 and figures["objects"]
        assert figures["occlusion_accuracy"] > 0.7 and figures["seconds"] > 0
    stored = np.load(take / "tracks.npz")
    images = BlenderImages()
    frames = [images.read(take / "frames" / f"{number:04d}.png").astype(int) for number in (1, 9)]
    assert frames[0].shape == (128, 192, 3) and stored["tracks"].shape[0] == 9
    # Where a point is seen in both, the renders show about the same colour at its true places.
    seen = stored["visibility"][8]
    first, last = (frame[tuple(np.floor(stored["tracks"][index][seen]).astype(int).T[::-1])] for frame, index in zip(frames, (0, 8)))
    assert np.median(np.abs(first - last).max(axis=1)) < 12


def test_the_score_is_put_to_the_test_on_renders(empty_file, tmp_path):
    """The whole command: Blender renders the example as it is and through a wrong camera, the backend's Python scores."""
    folder = tmp_path / "clip"
    args = ["benchmark", "score", "--size", "192x128", "--count", "9", "--frames", "1:9", "--first-frame", "workbench", "-o", str(folder), "--json"]
    done = subprocess.run([sys.executable, "-m", "diffusion_as_shader", *args], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    told = next(line for line in map(json.loads, done.stdout.splitlines()) if line["event"] == "result")
    values = {name: score["value"] for name, score in told["scores"].items()}
    assert told["ranked"] and values["frozen"] < 0.05 and values["wrong camera"] < values["true render"] - 0.2, values
    assert {part["name"] for part in told["scores"]["true render"]["objects"]} <= set(json.loads((folder / "true" / "objects.json").read_text()).values())
    images = BlenderImages()
    true, astray = (images.read(folder / name / "frames" / "0009.png").astype(int) for name in ("true", "wrong camera"))
    assert (np.abs(true - astray).max(axis=-1) > 12).mean() > 0.1
