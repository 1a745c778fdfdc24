"""Tasks that need a model: depth that is estimated, and the repainted first frame; tiny random networks of the real classes."""

import sys
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

import tiny_painters  # noqa: E402
import tiny_vision  # noqa: E402

from diffusion_as_shader.backend import tasks  # noqa: E402
from diffusion_as_shader.backend.engines import Progress, Report  # noqa: E402
from diffusion_as_shader.backend.vision import masks  # noqa: E402
from diffusion_as_shader.shared import task_signals  # noqa: E402
from diffusion_as_shader.shared.errors import Cancelled, UsageError  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402
from diffusion_as_shader.shared.task_settings import CameraControl, DepthSettings, MotionTransfer, ObjectManipulation, Repaint  # noqa: E402

WIDTH, HEIGHT, FRAMES = 96, 64, 9
SOURCE = np.random.default_rng(0).integers(0, 256, (1, HEIGHT, WIDTH, 3), np.uint8)
VIDEO = np.random.default_rng(1).integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), np.uint8)


@pytest.fixture(scope="module")
def depth_folder(tmp_path_factory):
    return str(tiny_vision.depth_anything(tmp_path_factory.mktemp("depth")))


@pytest.fixture(scope="module")
def painter(tmp_path_factory):
    root = tmp_path_factory.mktemp("painter")
    base, control = tiny_painters.write_sdxl(root / "sdxl", root / "control")
    return Repaint(model="sdxl", steps=2, candidates=2, choice=2, weights=str(control), base=str(base))


def make(task: str, **settings) -> GenerationRequest:
    return GenerationRequest(task=task, width=WIDTH, height=HEIGHT, frames=FRAMES, prompt="a red fox", **settings)


def prepare(request, inputs, cancelled=lambda: False):
    """Signals by name, the Report and the phases."""
    task_signals.check_inputs(request, inputs)
    *events, report = tasks.prepare(request, inputs, cancelled=cancelled)
    assert isinstance(report, Report)
    phases = list(dict.fromkeys(event.phase for event in events if isinstance(event, Progress)))
    return {event.name: event.array for event in events if isinstance(event, tasks.Signal)}, report, phases


@pytest.mark.parametrize("scene_depth", [None, 5.0])
def test_a_picture_of_which_nothing_is_known(depth_folder, scene_depth):
    """Depth is estimated, the lens assumed, and the path is scaled where it was made in a scene."""
    request = make("camera_control", camera=CameraControl(motion="trans 1 0 0"), depth=DepthSettings(weights=depth_folder))
    scale = {} if scene_depth is None else {"scene_depth": np.array([scene_depth])}
    signals, report, phases = prepare(request, {"source": SOURCE.copy(), **scale})
    notes = "\n".join(report.notes)
    assert phases == ["depth", "draw"] and signals["valid"][0].any()
    known = signals["depth"][0][np.isfinite(signals["depth"][0])]
    assert "Depth Anything" in notes and "50 degrees" in notes
    if scene_depth:
        assert "are scaled by" in notes and "scene's median depth 5" in notes
        assert 0.5 < signals["world_to_camera"][-1, 0, 3] / (np.median(known) / scene_depth) < 2
    else:
        assert "in the unit of the estimated depth" in notes and signals["world_to_camera"][-1, 0, 3] == 1


def test_motion_transfer_with_estimated_depth(depth_folder):
    rows, columns = np.mgrid[4:60:8, 4:92:8] + 0.5
    tracks = np.repeat(np.stack([columns.ravel(), rows.ravel()], 1)[None], FRAMES, axis=0).astype(np.float32)
    request = make("motion_transfer", depth=DepthSettings(weights=depth_folder), transfer=MotionTransfer(tracker="file"))
    signals, report, phases = prepare(request, {"source": VIDEO.copy(), "tracks": tracks})
    assert phases == ["depth", "draw"] and np.isfinite(signals["track_depth"]).any() and signals["valid"].any()
    assert (signals["first_frame"] == VIDEO[0]).all()


def test_motion_transfer_does_without_a_model_that_is_not_here_but_only_where_any_will_do(tmp_path):
    tracks = np.full((FRAMES, 4, 2), 30.5, np.float32)
    inputs = {"source": VIDEO.copy(), "tracks": tracks}
    request = make("motion_transfer", depth=DepthSettings(weights=str(tmp_path / "nowhere")), transfer=MotionTransfer(tracker="file"))
    _, report, _ = prepare(request, inputs)
    assert any("equally far" in note and "nowhere" in note for note in report.notes)
    with pytest.raises(UsageError, match="nowhere"):
        prepare(msgspec.structs.replace(request, depth=msgspec.structs.replace(request.depth, source="depth_anything")), inputs)


def test_the_first_frame_of_a_task_is_repainted_along_its_depth(painter):
    depth = np.full((1, HEIGHT, WIDTH), 6, np.float32)
    depth[0, 14:50, 20:64] = 2
    request = make(
        "object_manipulation", repaint=painter, object=ObjectManipulation(motion="left", distance=8), depth=DepthSettings(source="file")
    )
    inputs = {"source": SOURCE.copy(), "source_depth": depth, "mask": depth[0] == 2}
    signals, report, phases = prepare(request, inputs)
    assert signals["candidates"].shape == (2, HEIGHT, WIDTH, 3)
    assert (signals["first_frame"] == signals["candidates"][1]).all() and (signals["first_frame"] != SOURCE[0]).any()
    assert phases[0] == "draw" and "repaint" in phases
    notes = "\n".join(report.notes)
    assert "Candidate 1" in notes and "Candidate 2" in notes and report.versions


def test_what_is_clicked_on_moves(tmp_path, monkeypatch):
    """SAM 2, from a folder in the place of the hub's."""
    folder = tiny_vision.sam(tmp_path)
    monkeypatch.setattr(masks, "mask_from_click", partial(masks.mask_from_click, source=folder))
    settings = ObjectManipulation(motion="back", distance=8, click=(40.0, 30.0))
    inputs = {"source": SOURCE.copy(), "source_depth": np.full((1, HEIGHT, WIDTH), 6, np.float32)}
    expected = masks.mask_from_click(SOURCE[0], (40.0, 30.0))
    signals, report, phases = prepare(make("object_manipulation", object=settings), inputs)
    assert phases == ["mask", "draw"] and set(expected.notes) <= set(report.notes)
    moved = np.isfinite(signals["depth"][-1]) & (signals["depth"][-1] > 6.2)
    assert expected.pixels.any() and moved.any() and not (signals["depth"][0] > 6.2)[signals["valid"][0]].any()


def test_mesh_to_video_only_repaints(painter):
    depth = np.full((HEIGHT, WIDTH), 6, np.float32)
    depth[14:50, 20:64] = 2
    inputs = {"first_frame": SOURCE[0].copy(), "depth": depth}
    signals, report, phases = prepare(make("mesh_to_video", repaint=painter), inputs)
    assert set(signals) == {"candidates", "first_frame"} and (signals["first_frame"] == signals["candidates"][1]).all()
    with pytest.raises(UsageError, match="no repaint is asked for"):
        prepare(make("mesh_to_video"), inputs)


def test_cancel_while_depth_is_estimated(depth_folder):
    request = make("motion_transfer", depth=DepthSettings(weights=depth_folder), transfer=MotionTransfer(tracker="file"))
    with pytest.raises(Cancelled):
        prepare(request, {"source": VIDEO.copy(), "tracks": np.full((FRAMES, 4, 2), 30.5, np.float32)}, cancelled=lambda: True)
