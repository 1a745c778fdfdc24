"""The model's engine from Blender: a scene and a tiny checkpoint become a video; cancelled, refused; what is told and left."""

import io
import json
import os
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.shared import cli, home, messages
from diffusion_as_shader.shared.errors import DasError
from diffusion_as_shader.shared.generation import generate, reach_backend
from diffusion_as_shader.shared.report import Reporter
from diffusion_as_shader.shared.take import Take
from diffusion_as_shader.shared.take_command import generate_take

from .conftest import SMALL, das, das_command, partial_files

SECONDS = 120.0  # every wait's bound
SECONDS_TO_CANCEL = 10.0  # the backend stops between two blocks; the rest is processes that end, on a busy machine
TRANSFORMER = "transformer/diffusion_pytorch_model.safetensors"


@pytest.fixture(scope="module", autouse=True)
def das_home(tmp_path_factory):
    """One home for this module, so that one backend serves it: a Python with torch takes seconds to start."""
    serving = home.environments("backend")
    if not serving or serving[0].name != home.MODEL_ENVIRONMENT:
        pytest.skip("needs the model's environment: python3 install/run.py setup --model")
    folder = tmp_path_factory.mktemp("home")
    shutil.copy(home.environments_file(), folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DAS_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def peer(das_home):
    """A client of the backend that serves all tests, which leave it well; it ends with them."""
    end = time.monotonic() + SECONDS
    for peer in reach_backend("test"):
        if peer is not None:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    with peer:
        yield peer


@pytest.fixture(scope="module")
def weights(tmp_path_factory, das_home) -> Path:
    """A tiny random checkpoint, made as a user makes one."""
    folder = tmp_path_factory.mktemp("Gewichte für Übung") / "tiny"
    run = das("models", "tiny", folder)
    assert run.code == 0, run.err
    return folder


@pytest.fixture(scope="module")
def prepared(scenes, tmp_path_factory, das_home) -> Path:
    """A take of 9 frames with its tracking, ready for any engine."""
    take = tmp_path_factory.mktemp("prepared") / "take"
    run = das("track", scenes / "moving cube.blend", *SMALL, "-o", take)
    assert run.code == 0, run.err
    return take


def record_of(take: Path) -> dict:
    return json.loads((take / "take.json").read_text(encoding="utf-8"))


def test_a_scene_becomes_a_video(scene_file, weights, peer, tmp_path):
    take = tmp_path / "Aufnahme für Müller"
    words = ("--engine", "das", "--weights", weights, "--steps", 3, "--prompt", "a red cube", "--seed", 3, "-o", take, "--json")
    run = das("generate", scene_file, *SMALL, *words)
    assert run.code == 0, run.err
    record = record_of(take)
    assert record["state"] == "done" and record["request"]["engine"] == "das" and record["request"]["weights"] == str(weights)
    assert [file.name for file in sorted((take / "frames").iterdir())] == [f"{number:04d}.png" for number in range(1, 10)]
    assert (take / "video.mp4").stat().st_size > 500 and not partial_files(take)
    assert record["used"] == ["tracking", "first_frame"] and len(record["versions"]["weights transformer"]) == 64
    phases = list(dict.fromkeys(line["phase"] for line in run.lines if "phase" in line))
    assert [name for name in phases if name in ("denoise", "decode")] == ["denoise", "decode"], phases
    pixels = BlenderImages().read(take / "frames" / "0009.png")
    assert pixels.shape == (64, 96, 3) and pixels.std() > 1


def test_previews_arrive_before_frames(prepared, weights, peer, tmp_path):
    take = Take.open(shutil.copytree(prepared, tmp_path / "take"), BlenderImages())
    request = take.record.request
    request.engine, request.weights, request.steps = "das", str(weights), 3
    events = [type(event) for event in generate(take, peer, patience=0.2, cancelled=lambda: False)]
    assert events.count(messages.Frame) == 9 and messages.Preview in events
    assert events.index(messages.Preview) < events.index(messages.Frame)
    assert take.record.state == "done"


def interrupted(words, ready) -> tuple[int, str, float]:
    """Run a command and send one SIGINT as soon as ``ready()``; its code, standard error, and the seconds it then took."""
    process = subprocess.Popen(das_command(*words), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        deadline = time.monotonic() + SECONDS
        while not ready():
            assert time.monotonic() < deadline and process.poll() is None, "it ended before it could be cancelled"
            time.sleep(0.005)
        process.send_signal(signal.SIGINT)
        began = time.monotonic()
        _, err = process.communicate(timeout=60)
        return process.returncode, err, time.monotonic() - began
    finally:
        process.kill()
        process.wait()


@pytest.mark.skipif(os.name != "posix", reason="sends SIGINT to one process")
class TestCancel:
    """One Ctrl-C."""

    def test_while_it_denoises(self, prepared, weights, peer, tmp_path):
        """A thousand steps would take minutes: what ends within seconds was stopped in the middle."""
        take = tmp_path / "take"
        words = ("generate", prepared, "--engine", "das", "--weights", weights, "--steps", 1000, "-o", take)
        code, err, seconds = interrupted(words, lambda: (take / "take.json").exists() and record_of(take)["state"] == "running")
        assert code == 130, err
        assert seconds < SECONDS_TO_CANCEL and "Traceback" not in err
        assert record_of(take)["state"] == "cancelled"
        assert not list((take / "frames").glob("*")) and not partial_files(take) and not (take / "video.mp4").exists()

    def test_while_it_decodes(self, scene_file, weights, peer, tmp_path):
        take = tmp_path / "take"
        size = ("--size", "240x160", "--count", "49", "--first-frame", "workbench")
        words = ("generate", scene_file, *size, "--engine", "das", "--weights", weights, "--steps", 1, "-o", take)
        code, err, seconds = interrupted(words, lambda: (take / "frames" / "0001.png").exists())
        assert code == 130, err
        assert seconds < SECONDS_TO_CANCEL and "Traceback" not in err
        assert record_of(take)["state"] == "cancelled"
        arrived = list((take / "frames").iterdir())
        assert 0 < len(arrived) < 49
        assert all(file.read_bytes().endswith(b"IEND\xaeB`\x82") for file in arrived), "what has come is kept, and whole"
        assert not partial_files(take) and not (take / "video.mp4").exists()


def without_safetensors(folder: Path) -> None:
    (folder / TRANSFORMER).rename((folder / TRANSFORMER).with_suffix(".bin"))


def truncated(folder: Path) -> None:
    os.truncate(folder / TRANSFORMER, (folder / TRANSFORMER).stat().st_size // 2)


def of_another_class(folder: Path) -> None:
    change_config(folder, _class_name="FluxTransformer2DModel")


def of_another_width(folder: Path) -> None:
    change_config(folder, num_attention_heads=4)


def base_model(folder: Path) -> None:
    change_config(folder, _class_name="CogVideoXTransformer3DModel")


def without_vae(folder: Path) -> None:
    shutil.rmtree(folder / "vae")


def change_config(folder: Path, **entries) -> None:
    file = folder / "transformer" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


REFUSED = {  # spoilt by: words of the message, words of the fix
    without_safetensors: ("can run any program", "safetensors format"),
    truncated: ("diffusion_pytorch_model.safetensors", "again"),
    of_another_class: ("FluxTransformer2DModel", "Choose"),
    of_another_width: ("of another shape", "again"),
    base_model: ("without the tracking branch", "--from-base"),
    without_vae: ("no vae", "again"),
}


@pytest.fixture
def refused(prepared, peer, tmp_path):
    """Checks that `das generate` with some words is refused: one line and its fix, a take that says the same, nothing made."""

    def check(name: str, message: str, fix: str, *words) -> None:
        take = tmp_path / "takes" / name
        args = cli.parser().parse_args(["generate", str(prepared), "--engine", "das", "-o", str(take), *map(str, words)])
        with pytest.raises(DasError) as caught:
            generate_take(args, Reporter(io.StringIO(), io.StringIO()), BlenderImages())
        assert caught.value.exit_code in (2, 5)
        assert message in caught.value.message and fix in caught.value.fix, caught.value
        assert_nothing_made(take, str(caught.value))

    return check


def assert_nothing_made(take: Path, line: str) -> None:
    record = record_of(take)
    assert record["state"] == "failed" and record["failure"]["message"] in line and record["failure"]["fix"] in line
    assert "\n" not in line and line.endswith(".")
    assert not list((take / "frames").glob("*"))
    assert not partial_files(take) and not (take / "video.mp4").exists()


@pytest.mark.parametrize("spoil", REFUSED)
def test_unusable_weights(spoil, weights, tmp_path, refused):
    folder = shutil.copytree(weights, tmp_path / "spoilt")
    spoil(folder)
    refused(spoil.__name__, *REFUSED[spoil], "--weights", folder)


def test_weights_that_are_not_there(tmp_path, refused):
    refused("missing folder", "no folder", "hub id", "--weights", tmp_path / "nowhere")
    refused("not pulled", "not on this machine", "das models pull", "--weights", "someone/something-else")


def test_a_prompt_too_long(weights, refused):
    refused("prompt", "The prompt has 301 tokens", "Shorten", "--weights", weights, "--prompt", "x" * 300)
    refused("negative", "The negative prompt has 301 tokens", "Shorten", "--weights", weights, "--negative-prompt", "x" * 300)


def test_what_the_command_line_says(prepared, weights, peer, tmp_path):
    """The same in a process of its own: one line on standard error, and the exit code."""
    words = ("--engine", "das", "--weights", weights, "--prompt", "x" * 300, "-o", tmp_path / "take", "--json")
    run = das("generate", prepared, *words)
    assert run.code == 5 and "Traceback" not in run.err, run.err
    (line,) = [line for line in run.err.splitlines() if line.startswith("das: ")]
    assert_nothing_made(tmp_path / "take", line)
