"""`das generate` without Blender: a take, a tracking video, a folder, and what is refused."""

import json
import sys

import msgspec
import numpy as np
import pytest

from diffusion_as_shader.backend.commands import generate
from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.shared import cli, home
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.report import JsonReporter
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.take import Take

SIZE, COUNT = (64, 96, 3), 9


class Lines(list):
    def write(self, text):
        self.append(text)

    def flush(self):
        pass

    def isatty(self):
        return False

    @property
    def result(self):
        return json.loads(self[-1])


@pytest.fixture(autouse=True)
def this_is_the_backend():
    """A backend is started from the Python that runs the tests."""
    home.home().mkdir(parents=True, exist_ok=True)
    entry = home.Environment(room="backend", name="backend", python=sys.executable)
    home.environments_file().write_bytes(msgspec.json.encode(home.Environments(environments=[entry])))


@pytest.fixture
def tracking():
    """A square whose points stay the same while it moves to the right: u8 [T,H,W,3]."""
    frames = np.zeros((COUNT, *SIZE), np.uint8)
    y, x = np.mgrid[16:48, 8:40]
    colours = np.stack([np.rint(255 * (x + 0.5) / 96), np.rint(255 * (y + 0.5) / 64), np.full(x.shape, 128)], axis=-1)
    for index in range(COUNT):
        frames[index, 16:48, 8 + 5 * index : 40 + 5 * index] = colours
    return frames


@pytest.fixture
def first_frame():
    picture = np.full(SIZE, 30, np.uint8)
    picture[16:48, 8:40] = (220, 40, 40)
    return picture


@pytest.fixture
def pictures(tmp_path, tracking, first_frame):
    """A folder of frames, and the first frame beside it."""
    (tmp_path / "frames").mkdir()
    for index, frame in enumerate(tracking):
        ImageioImages().write(tmp_path / "frames" / f"{index:03d}.png", frame)
    ImageioImages().write(tmp_path / "first.png", first_frame)
    return tmp_path


def das(*words) -> Lines:
    lines = Lines()
    args = cli.parser().parse_args(["generate", *map(str, words)])
    assert generate.run(args, JsonReporter(lines, Lines())) == 0
    return lines


def check_result(take: Take) -> None:
    """The red square has moved with its tracking."""
    assert take.record.state == "done" and not take.missing_frames() and take.video.exists()
    last = take.images.read(take.frame_file(COUNT - 1)).astype(int)
    assert np.abs(last[24:40, 56:72] - (220, 40, 40)).mean() < 12
    assert np.abs(last[24:40, 8:24] - (220, 40, 40)).mean() > 60, "it has left"


def test_a_folder_of_frames(pictures):
    told = das("--tracking", pictures / "frames", "--first-frame", pictures / "first.png", "--prompt", "red")
    take = Take.open(pictures / "das" / "frames-001", ImageioImages())
    check_result(take)
    assert told.result["take"] == str(take.folder) and take.record.request.prompt == "red"
    assert (take.record.request.width, take.record.request.height, take.record.request.frames) == (96, 64, COUNT)


def test_a_video(pictures, tracking):
    ImageioImages().write_lossless(pictures / "tracking.mkv", tracking, 24)
    das("--tracking", pictures / "tracking.mkv", "--first-frame", pictures / "first.png", "-o", pictures / "take")
    check_result(Take.open(pictures / "take", ImageioImages()))


@pytest.fixture
def take(tmp_path, tracking, first_frame):
    """A prepared take without signals, as das track would leave it but for them."""
    take = Take.create(tmp_path / "take", GenerationRequest(width=96, height=64, frames=COUNT, start=1, end=9), ImageioImages())
    for index, frame in enumerate(tracking):
        take.write_tracking_frame(index, frame)
    take.write_first_frame(first_frame)
    return take


def test_a_take_then_the_same_again_then_a_copy(take):
    das(take.folder, "--seed", "3")
    done = Take.open(take.folder, ImageioImages())
    check_result(done)
    assert done.record.request.seed == 3
    stamp = done.video.stat().st_mtime_ns
    assert any("complete" in line for line in das(take.folder))
    assert done.video.stat().st_mtime_ns == stamp, "what is complete is not made again"
    with pytest.raises(UsageError, match="begun with other settings"):
        das(take.folder, "--prompt", "blue")
    das(take.folder, "--prompt", "blue", "-o", take.folder.parent / "copy")
    copy = Take.open(take.folder.parent / "copy", ImageioImages())
    check_result(copy)
    assert copy.record.request.prompt == "blue" and copy.record.hashes == done.record.hashes
    assert copy.record.job != done.record.job


def test_an_interrupted_take_goes_on(take):
    take.set_state("running")
    take.write_frame(0, np.full(SIZE, 77, np.uint8))
    das(take.folder)
    again = Take.open(take.folder, ImageioImages())
    assert again.record.state == "done" and not again.missing_frames()


def test_another_first_frame_for_a_take(take, tmp_path):
    ImageioImages().write(tmp_path / "other.png", np.full(SIZE, 200, np.uint8))
    das(take.folder, "--first-frame", tmp_path / "other.png")
    assert (Take.open(take.folder, ImageioImages()).read_first_frame() == 200).all()


@pytest.mark.parametrize(
    "words, sentence",
    [
        (["--tracking", "frames"], "needs the first frame"),
        (["--tracking", "nothing", "--first-frame", "first.png"], "There is no tracking video"),
        (["--tracking", "frames", "--first-frame", "render"], "first frame as an image"),
        (["--tracking", "frames", "--first-frame", "small.png"], "The first frame is 8x8"),
        (["--tracking", "frames", "--first-frame", "first.png", "--size", "96x64"], "its own frames"),
        (["take", "--tracking", "frames", "--first-frame", "first.png"], "Give one of them"),
        (["--tracking", "empty", "--first-frame", "first.png"], "holds no images"),
        (["--tracking", "short", "--first-frame", "first.png"], "8N.1"),
        (["take", "--size", "96x64"], "drawn already"),
        (["take", "--first-frame", "render"], "drawn already"),
        (["take", "--first-frame", "small.png"], "small.png is 8x8"),
        (["empty"], "is no take folder"),
    ],
)
def test_what_is_refused(pictures, take, words, sentence, monkeypatch):
    monkeypatch.chdir(pictures)
    (pictures / "empty").mkdir()
    (pictures / "short").mkdir()
    for index in range(4):
        ImageioImages().write(pictures / "short" / f"{index}.png", np.zeros(SIZE, np.uint8))
    ImageioImages().write(pictures / "small.png", np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match=sentence) as caught:
        das(*words)
    assert caught.value.fix
    assert not list(pictures.glob("das/*")) and take.record.state == "prepared"


def test_a_tracking_video_has_nothing_more_to_write(pictures):
    with pytest.raises(UsageError, match="Only a scene has what --write writes"):
        das("--tracking", pictures / "frames", "--first-frame", pictures / "first.png", "--write", "depth")
