"""Killed in the middle, by SIGKILL: the command, its backend, both. What was begun comes to its end, right and once."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pattern_engine
import pytest
from conftest import SECONDS, environment, follow, frames_of, know_backend, make_request, make_signals, submit, until

from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.shared import backend_process, messages
from diffusion_as_shader.shared.processes import pid_alive
from diffusion_as_shader.shared.take import Take

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals")
COUNT = 17


@pytest.fixture
def home(das_home, monkeypatch):
    """A home where a backend can be started; what runs in it at the end is stopped."""
    for name, value in environment(das_home).items():
        monkeypatch.setenv(name, value)
    know_backend()
    yield das_home
    backend_process.stop_backend(SECONDS)


@pytest.fixture
def take(tmp_path, request):
    """A take of frames that take a tenth of a second each, or as a test's parameter says."""
    request = make_request(getattr(request, "param", "sleep=0.1"), frames=COUNT, start=1, end=COUNT)
    take = Take.create(tmp_path / "take", request, ImageioImages())
    signals = make_signals(request)
    for index, picture in enumerate(signals["tracking"]):
        take.write_tracking_frame(index, picture)
    take.write_first_frame(signals["first_frame"])
    return take


def das_generate(take) -> subprocess.Popen:
    return subprocess.Popen([sys.executable, "-m", "diffusion_as_shader.backend", "generate", str(take.folder)])


def wait_for_frames(take, count=3) -> None:
    until(lambda: COUNT - len(take.missing_frames()) >= count, 2 * SECONDS)


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    until(lambda: not pid_alive(pid))


def assert_right(take) -> None:
    done = Take.open(take.folder, ImageioImages())
    assert done.record.state == "done" and done.video.exists() and not done.missing_frames()
    tracking = take.read_tracking()
    for index in range(COUNT):
        expected = pattern_engine.pattern(tracking, index, done.record.request.seed)
        np.testing.assert_array_equal(done.images.read(done.frame_file(index)), expected)


def job_of(take) -> str:
    return Take.open(take.folder, ImageioImages()).record.job


def left_out() -> list[str]:
    """What each attempt was told to leave out, as the log has it."""
    return [line for line in backend_process.log_file().read_text().split("\n") if "the pattern leaves out" in line]


@pytest.mark.parametrize("take", ["hang_once=8"], indirect=True)
def test_the_command_is_killed_and_goes_on_when_it_is_given_again(home, take):
    """The backend goes ten seconds later, with its last lease, and puts the job back; the next one goes on with it."""
    command = das_generate(take)
    wait_for_frames(take, 8)
    job, backend = job_of(take), backend_process.find_backend().pid
    command.kill()
    command.wait()
    killed = time.monotonic()
    until(lambda: not pid_alive(backend), 2 * SECONDS)
    assert 10 <= time.monotonic() - killed < 15
    assert das_generate(take).wait(2 * SECONDS) == 0
    assert_right(take)
    record = Take.open(take.folder, ImageioImages()).record
    assert record.job == job and record.notes == ["A test."], "that attempt did not count"
    assert left_out() == ["the pattern leaves out []", f"the pattern leaves out {list(range(8))}"]


def test_a_frame_that_was_lost_after_it_was_received_is_made_again(home, take):
    backend_process.ensure_backend()
    assert das_generate(take).wait(2 * SECONDS) == 0
    take.frame_file(3).unlink()
    Take.open(take.folder, ImageioImages()).set_state("running")  # as if the machine had lost power after the frame came
    assert das_generate(take).wait(2 * SECONDS) == 0
    assert_right(take)


def test_the_backend_is_killed_under_the_command_which_starts_another_and_goes_on(home, take):
    command = das_generate(take)
    wait_for_frames(take)
    job = job_of(take)
    kill(backend_process.find_backend().pid)
    assert command.wait(2 * SECONDS) == 0
    assert_right(take)
    record = Take.open(take.folder, ImageioImages()).record
    assert record.job == job and "The backend ended in the middle of attempt 1" in record.notes[0]
    first, second = left_out()
    assert first.endswith("[]") and second.startswith("the pattern leaves out [0, 1, 2"), "no frame is made twice"


def test_command_and_backend_are_killed_and_the_next_command_goes_on(home, take):
    command = das_generate(take)
    wait_for_frames(take)
    job = job_of(take)
    command.kill()
    command.wait()
    kill(backend_process.find_backend().pid)
    assert das_generate(take).wait(2 * SECONDS) == 0
    assert_right(take)
    assert job_of(take) == job and left_out()[1].startswith("the pattern leaves out [0, 1, 2")


def test_a_backend_that_is_stopped_is_not_started_again_under_the_hands_of_who_stopped_it(home, take):
    command = das_generate(take)
    wait_for_frames(take)
    backend_process.stop_backend(SECONDS)
    assert command.wait(SECONDS) == 5
    assert backend_process.find_backend() is None
    job = job_of(take)
    assert Take.open(take.folder, ImageioImages()).record.failure.kind == "backend_stopped"
    assert das_generate(take).wait(2 * SECONDS) == 0, "but the take goes on when somebody asks"
    assert_right(take)
    assert job_of(take) == job


def test_das_serve_goes_on_without_anybody(own_backend):
    with own_backend.connect() as peer:
        job = submit(peer, "sleep=0.05", frames=25)
        have = sorted(frames_of(follow(peer, job, last=messages.Frame)))
        peer.abandon()
    time.sleep(0.2)
    with own_backend.connect() as peer:
        until(lambda: peer.status(job).state == "done")
        peer.attach(job, have)
        assert sorted([*have, *frames_of(follow(peer, job))]) == list(range(25))
    until(lambda: not (own_backend.folder / "spool" / job).exists())


def test_two_clients_take_turns(own_backend):
    with own_backend.connect("night") as night, own_backend.connect("noon") as noon:
        running = submit(night, "sleep=0.1", frames=17)
        follow(night, running, last=messages.Frame)
        nightly = [submit(night, seed=seed) for seed in range(3)]
        for job in nightly:
            follow(night, job, last=messages.Accepted)
        listed = night.list()
        assert {entry.owner for entry in listed} == {f"night {os.getpid()}@{os.uname().nodename}"}
        single = submit(noon, seed=9)
        (accepted,) = follow(noon, single, last=messages.Accepted)
        assert accepted.position == 0, "its client has had no turn yet"
        follow(noon, single)
        for job in nightly:
            follow(night, job)
        begun = sorted([*nightly, single], key=lambda job: night.status(job).begun)
        assert begun == [single, *nightly]
