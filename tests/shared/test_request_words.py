"""A request's fields as options, and back by the command line's own parser."""

import pytest

from diffusion_as_shader.shared import cli, options
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import FirstFrame
from diffusion_as_shader.shared.request_words import words_of
from diffusion_as_shader.shared.task_settings import CameraControl, DepthSettings, MotionTransfer, ObjectManipulation, Repaint


def read_back(command, fields):
    args = cli.parser().parse_args([command, "target", *words_of(fields)])
    return {name: value for name, value in options.changes(args).items() if name != "task"}


@pytest.mark.parametrize(
    "fields",
    [
        {"start": -5.5, "end": 20.0, "width": 480, "height": 320, "frames": 17},
        {"prompt": "--what \"is\" = it?", "negative_prompt": "", "seed": 4294967295, "engine": "das", "steps": 3},
        {"guidance": "constant", "guidance_scale": 1.5, "scheduler": "ddim", "quality": "draft", "memory_plan": "bf16", "from_base": True},
        {"tracking_range": "unsigned", "image_latent_scale": "mul", "weights": "owner/name@main"},
        {"fit": "pad", "hidden": "black", "percentiles": "vertices", "background": "world", "write": ("depth", "tracks"), "points": "20x10"},
        {"first_frame": FirstFrame(source="cycles", samples=8)},
        {"first_frame": FirstFrame(source="workbench")},
        {"repaint": Repaint(model="sdxl", strength=0.5, candidates=4, choice=2, steps=12, weights="a/b", base="c/d")},
        {"repaint": Repaint()},
    ],
)
def test_generate_gives_the_same_fields(fields):
    assert read_back("generate", fields) == fields


@pytest.mark.parametrize(
    ("command", "fields"),
    [
        ("camera-control", {"camera": CameraControl(motion="trans 0 0 -1; rot y 15", order="reference", onto="override")}),
        ("object-manipulation", {"object": ObjectManipulation(click=(3.5, 4.0), motion="up", distance=0.0), "depth": DepthSettings(source="moge")}),
        ("object-manipulation", {"object": ObjectManipulation(object="Cube", motion="follow", follow="Empty")}),
        ("motion-transfer", {"transfer": MotionTransfer(tracker="lucas_kanade", grid="9x9"), "depth": DepthSettings(weights="a/b")}),
    ],
)
def test_tasks_give_the_same_fields(command, fields):
    assert read_back(command, fields) == fields


def test_files_of_tasks_are_given_by_path(tmp_path):
    files = [tmp_path / name for name in ("depth map.png", "path.json", "tracks.npz", "picture ü.png")]
    for file in files:
        file.write_bytes(b"x")
    depth, path, tracks, picture = map(str, files)
    transfer = {"transfer": MotionTransfer(tracker="file", tracks=tracks), "depth": DepthSettings(source="file", path=depth)}
    assert read_back("motion-transfer", transfer) == transfer
    camera = {"camera": CameraControl(path=path), "first_frame": FirstFrame(source="file", path=picture)}
    assert read_back("camera-control", camera) == camera


def test_half_a_range():
    with pytest.raises(UsageError, match="start is given without end"):
        words_of({"start": 3.0})
