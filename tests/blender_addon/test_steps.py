"""No step of a job does the work of more than one frame, however long the shot: Blender draws and hears between them."""

from collections import Counter

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.jobs import Job
from diffusion_as_shader.blender_addon.resume_job import ResumeJob
from diffusion_as_shader.shared import messages, preparation, signal_file
from diffusion_as_shader.shared.stacks import Stack
from diffusion_as_shader.shared.take import ContentHash, Take, content_hash

from .scenes import REQUEST, moving_cube

LONG = msgspec.structs.replace(REQUEST, frames=25)
FRAME = LONG.width * LONG.height * 3  # bytes


@pytest.fixture
def done(monkeypatch) -> Counter:
    """How many times each thing was done that takes a while for one frame of a large video."""
    counts = Counter()

    def count(owner, name, of=lambda *_: 1):
        original = getattr(owner, name)

        def counting(*args):
            counts[name] += of(*args)
            return original(*args)

        monkeypatch.setattr(owner, name, counting)

    count(ContentHash, "add", of=lambda _, part: part.nbytes / FRAME)
    count(Stack, "append")
    count(Take, "_write_image")
    count(Take, "read_picture")
    count(signal_file, "_picture")
    return counts


def most_in_a_step(steps, done: Counter) -> Counter:
    most = Counter()
    for _ in steps:
        most |= done
        done.clear()
    return most


def steps_of(job):
    while job.step():
        yield


def test_of_a_capture(tmp_path, done):
    most = most_in_a_step(steps_of(Job(moving_cube(), LONG, tmp_path / "take", "track")), done)
    assert most == {"add": 1, "append": 5, "_write_image": 1}
    take = Take.open(tmp_path / "take", BlenderImages())
    assert take.record.hashes["tracking"] == content_hash(take.read_tracking())


def test_of_what_is_read_to_go_on(tmp_path, done):
    scene = moving_cube()
    Job(scene, LONG, tmp_path / "take", "track").run()
    job = ResumeJob(scene, tmp_path / "take")
    done.clear()
    assert most_in_a_step(job._read(), done) == {"read_picture": 1, "_picture": 1}


def test_of_what_a_task_sends(tmp_path, done):
    take = Take.create(tmp_path / "take", LONG, BlenderImages())
    signals = {
        "tracking": np.zeros((25, 64, 96, 3), np.uint8),
        "valid": np.ones((25, 64, 96), bool),
        "depth": np.ones((25, 64, 96), np.float32),
        "first_frame": np.zeros((64, 96, 3), np.uint8),
    }
    writing = preparation._write(take, signals)
    events = []
    most = most_in_a_step((events.append(event) for event in writing), done)
    assert most == {"add": 1, "_write_image": 1}
    assert all(isinstance(event, messages.Progress) for event in events)
    assert [event.phase for event in events].count("signals") == 50
    assert take.record.hashes["tracking"] == content_hash(signals["tracking"])
