"""The model through a real backend process: from a take to its frames, cancelled, refused."""

import json
import time
import uuid

import msgspec
import numpy as np
import pytest

from diffusion_as_shader.backend.commands import generate
from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint
from diffusion_as_shader.shared import cli, messages
from diffusion_as_shader.shared.errors import GenerationError
from diffusion_as_shader.shared.report import JsonReporter
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.take import Take

SECONDS = 120.0  # every wait's bound
SIZE, COUNT = (32, 48, 3), 9


class Lines(list):
    def write(self, text):
        self.append(text)

    def flush(self):
        pass

    def isatty(self):
        return False


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return write_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny")


def make_signals() -> dict[str, np.ndarray]:
    tracking = np.zeros((COUNT, *SIZE), np.uint8)
    for index in range(COUNT):
        tracking[index, 8:24, 2 * index : 2 * index + 16] = (200, 120, 60)
    return {"tracking": tracking, "first_frame": np.full(SIZE, (30, 90, 200), np.uint8)}


@pytest.fixture
def take(tmp_path):
    """A prepared take, as das track leaves it."""
    request = GenerationRequest(width=SIZE[1], height=SIZE[0], frames=COUNT, start=1, end=9)
    take, signals = Take.create(tmp_path / "take", request, ImageioImages()), make_signals()
    for index, frame in enumerate(signals["tracking"]):
        take.write_tracking_frame(index, frame)
    take.write_first_frame(signals["first_frame"])
    return take


def das(*words) -> list[dict]:
    """What a command tells, line by line."""
    lines = Lines()
    args = cli.parser().parse_args(["generate", *map(str, words)])
    assert generate.run(args, JsonReporter(lines, Lines())) == 0
    return [json.loads(line) for line in lines if line.strip()]


def frames_of(folder) -> np.ndarray:
    take = Take.open(folder, ImageioImages())
    assert take.record.state == "done" and not take.missing_frames() and take.video.exists()
    return np.stack([take.images.read(take.frame_file(index)) for index in range(COUNT)])


def test_a_take_is_generated_and_again_to_the_bit(peer, take, weights):
    words = ("--engine", "das", "--weights", weights, "--steps", 3, "--prompt", "a fox", "--seed", 4)
    told = das(take.folder, *words)
    phases = list(dict.fromkeys(line["phase"] for line in told if "phase" in line))
    assert [name for name in phases if name in ("denoise", "decode")] == ["denoise", "decode"]
    record = Take.open(take.folder, ImageioImages()).record
    assert record.request.engine == "das" and record.request.steps == 3 and record.request.weights == str(weights)
    assert record.used == ["tracking", "first_frame"]
    assert len(record.versions["weights transformer"]) == 64 and record.versions["diffusers"]
    das(take.folder, *words, "-o", take.folder.parent / "again")
    first, again = frames_of(take.folder), frames_of(take.folder.parent / "again")
    np.testing.assert_array_equal(first, again)
    assert first.std() > 5
    refused = take.folder.parent / "refused"
    with pytest.raises(GenerationError, match="The prompt has 301 tokens") as caught:
        das(take.folder, "--engine", "das", "--weights", weights, "--prompt", "x" * 300, "-o", refused)
    assert caught.value.fix == "Shorten the prompt."
    assert Take.open(refused, ImageioImages()).record.failure.fix == "Shorten the prompt."


def events_of(peer, job):
    """A job's events up to its end."""
    end = time.monotonic() + SECONDS
    while True:
        assert time.monotonic() < end
        peer.wait(job, 1.0)
        for event in peer.events(job):
            yield event
            if isinstance(event, messages.Frame):
                peer.received(job, event.index)
            if isinstance(event, (messages.Done, messages.Failed, messages.Cancelled)):
                return


def events_in(events: list, phase: str) -> list:
    return [event for event in events if isinstance(event, messages.Progress) and event.phase == phase]


def test_cancelled_in_the_middle_then_warm(peer, weights):
    """No frame comes of a cancelled job; the next one finds the model loaded and shows previews."""
    request = GenerationRequest(engine="das", weights=str(weights), width=SIZE[1], height=SIZE[0], frames=COUNT, steps=1000)
    job, cancelled_at, ends = uuid.uuid4().hex, None, []
    peer.submit(job, request, make_signals(), title="long")
    for event in events_of(peer, job):
        ends.append(event)
        if cancelled_at is None and isinstance(event, messages.Progress) and event.phase == "denoise" and event.step > 2:
            peer.cancel(job)
            cancelled_at = time.monotonic()
    assert isinstance(ends[-1], messages.Cancelled) and time.monotonic() - cancelled_at < 5
    assert not [event for event in ends if isinstance(event, messages.Frame)]
    job, began, events = uuid.uuid4().hex, time.monotonic(), []
    peer.submit(job, msgspec.structs.replace(request, steps=2), make_signals(), title="short")
    for event in events_of(peer, job):
        if isinstance(event, messages.Progress) and event.phase == "denoise" and not events_in(events, "denoise"):
            print(f"the first step of a warm job was done {time.monotonic() - began:.2f} s after it was given")
        events.append(event)
    assert isinstance(events[-1], messages.Done)
    assert "load" not in {event.phase for event in events if isinstance(event, messages.Progress)}
    assert [event.index for event in events if isinstance(event, messages.Frame)] == list(range(COUNT))
    assert [event.array.shape for event in events if isinstance(event, messages.Preview)] == [(3, 4, 6, 3)]
