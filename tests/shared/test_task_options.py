"""The options of the tasks: what a command line means, and what it refuses."""

import pytest

from diffusion_as_shader.shared import cli, options
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.task_settings import CameraControl, DepthSettings, MotionTransfer, ObjectManipulation, Repaint


def request(*words: str) -> GenerationRequest:
    return options.changed(GenerationRequest(), cli.parser().parse_args(words))


def test_camera_control(tmp_path):
    depth = tmp_path / "depth ü.exr"
    depth.touch()
    made = request("camera-control", "a.png", "--camera-motion", "rot y 5", "--order", "reference", "--onto", "override", "--depth", str(depth), "--prompt", "fog")
    assert made.task == "camera_control" and made.prompt == "fog"
    assert made.camera == CameraControl(motion="rot y 5", order="reference", onto="override")
    assert made.depth == DepthSettings(source="file", path=str(depth))
    assert request("camera-control", "a.png", "--depth", "moge").depth == DepthSettings(source="moge")


def test_object_manipulation(tmp_path):
    made = request("object-manipulation", "a.png", "--click", "320,200.5", "--motion", "left", "--distance", "30")
    assert made.object == ObjectManipulation(click=(320, 200.5), motion="left", distance=30)
    assert made.task == "object_manipulation"
    followed = request("object-manipulation", "a.blend", "--object", "Cube", "--follow", "Empty").object
    assert followed == ObjectManipulation(object="Cube", motion="follow", follow="Empty")
    path = request("object-manipulation", "a.png", "--mask", "m.png", "--motion-path", str(tmp_path / "m.npy")).object
    assert path.motion == "path" and path.path == str(tmp_path / "m.npy") and path.mask.endswith("m.png")


def test_motion_transfer_and_repaint():
    made = request("motion-transfer", "a.mp4", "--tracks", "t.npz", "--repaint", "sdxl", "--candidates", "4", "--choose", "2", "--strength", "0.5")
    assert made.task == "motion_transfer" and made.transfer.tracker == "file" and made.transfer.tracks.endswith("t.npz")
    assert made.repaint == Repaint(model="sdxl", candidates=4, choice=2, strength=0.5)
    assert request("motion-transfer", "a.mp4", "--grid", "30x20").transfer == MotionTransfer(grid="30x20")


def test_other_commands_ask_for_no_task():
    assert request("generate", "a.blend") == GenerationRequest()
    assert request("generate", "a.blend", "--repaint", "flux").repaint == Repaint(model="flux")


@pytest.mark.parametrize(
    "words, said",
    [
        (("camera-control", "a.png", "--depth", "nothing"), "'nothing' is no source of depth"),
        (("object-manipulation", "a.png", "--click", "3"), "'3' is no pixel"),
        (("motion-transfer", "a.mp4", "--tracker", "file"), "none is given"),
        (("motion-transfer", "a.mp4", "--tracker", "dis", "--tracks", "t.npz"), "Both a tracker and the tracks"),
        (("motion-transfer", "a.mp4", "--repaint", "sdxl", "--choose", "2"), "Candidate 2 is chosen and 1 are made"),
        (("motion-transfer", "a.mp4", "--repaint", "sdxl", "--strength", "0"), "strength of 0 is not possible"),
        (("camera-control", "a.png", "--path", "p.json", "--camera-motion", "rot y 5"), "not allowed with"),
    ],
)
def test_refused(words, said):
    with pytest.raises(UsageError) as refused:
        request(*words)
    assert said in refused.value.message and refused.value.fix


@pytest.mark.parametrize(
    "words, key",
    [
        (("camera-control", "Shot Ä.BLEND"), "camera-control scene"),
        (("camera-control", "a.png"), "camera-control"),
        (("object-manipulation", "a.blend"), "object-manipulation scene"),
        (("motion-transfer", "a.mp4"), "motion-transfer"),
        (("repaint", "take"), "repaint"),
    ],
)
def test_room(words, key):
    assert cli.command_key(cli.parser().parse_args(words)) == key
    assert key in cli.PLACES
