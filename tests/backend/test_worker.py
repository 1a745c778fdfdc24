"""The worker: what goes wrong in it ends its job with kind and fix, never the server."""

import os
import re
import signal
import subprocess
import sys
import uuid

import numpy as np
import pytest
from conftest import assert_frames, expected_frames, follow, make_request, make_signals, submit, until

from diffusion_as_shader.backend.spool import JobFolder
from diffusion_as_shader.backend.worker_process import how_it_ended
from diffusion_as_shader.shared import messages
from diffusion_as_shader.shared.errors import BackendError
from diffusion_as_shader.shared.processes import pid_alive

posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def worker_pid(backend) -> int:
    """The process of the worker that the log names last."""
    return int(re.findall(r"worker (\d+) is ready", backend.output())[-1])


def test_progress_frames_and_what_the_engine_told(peer):
    events = follow(peer, submit(peer, "sleep=0.02"))
    if isinstance(events[1], messages.Progress):  # the first job of this engine: loading it may take a while
        assert events.pop(1).phase == "start"
    assert [type(event) for event in events[:2]] == [messages.Accepted, messages.Preview]
    assert_frames(events, expected_frames("sleep=0.02"))
    progress = [event for event in events if isinstance(event, messages.Progress)]
    assert (progress[-1].step, progress[-1].total, progress[-1].phase) == (9, 9, "pattern")
    assert all(entry.eta is not None and 0 <= entry.eta < 60 for entry in progress[1:])
    done = events[-1]
    assert done.used == ["tracking"] and done.notes == ["A test."]
    assert done.versions["pattern"] == "1" and "numpy" in done.versions
    assert set(done.timings) == {"load", "generate"}


def test_the_start_of_an_engine_is_a_phase_once(own_backend):
    with own_backend.connect() as peer:
        phases = [
            {event.phase for event in follow(peer, submit(peer, seed=seed)) if isinstance(event, messages.Progress)}
            for seed in (1, 2)
        ]
    assert phases == [{"start", "pattern"}, {"pattern"}]


def test_a_worker_whose_server_is_killed_before_it_says_anything_ends_without_a_word():
    command = [sys.executable, "-m", "diffusion_as_shader.backend", "worker"]
    ended = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


@pytest.mark.parametrize(
    "prompt, kind, said",
    [
        ("load fails", "generation", "cannot be loaded"),
        ("fail=3", "engine", "the pattern is torn"),
        ("leave=4", "generation", "8 of 9 frames"),
    ],
)
def test_a_failing_engine_fails_its_job_only(peer, prompt, kind, said):
    failed = follow(peer, submit(peer, prompt))[-1]
    assert (failed.kind, bool(failed.fix)) == (kind, True)
    assert said in failed.message
    assert_frames(follow(peer, submit(peer)), expected_frames())


@posix
def test_a_job_that_kills_its_workers_fails_after_the_second_and_the_next_one_runs(own_backend):
    with own_backend.connect() as peer:
        first, second = submit(peer, "die=3"), submit(peer, seed=4)
        events = follow(peer, first)
        failed = events[-1]
        assert failed.kind == "worker_died" and "SIGKILL" in failed.message and "attempt 2" in failed.message and failed.fix
        assert [event.index for event in events if isinstance(event, messages.Frame)] == [0, 1, 2]
        assert_frames(follow(peer, second), expected_frames(seed=4))
        info = peer.status(first)
        assert info.failure == failed and info.attempts == 2 and "attempt 1" in info.notes[0]


@posix
def test_after_kill_9_of_the_worker_the_job_goes_on_from_where_it_was(own_backend):
    """Each frame is made once and comes once."""
    with own_backend.connect() as peer:
        job = submit(peer, "die_once=4")
        events = follow(peer, job)
        assert [event.index for event in events if isinstance(event, messages.Frame)] == list(range(9))
        assert_frames(events, expected_frames("die_once=4"))
        (note, own) = events[-1].notes
        assert "SIGKILL in the middle of attempt 1, and the job was tried again" in note and own == "A test."
        assert peer.status(job).attempts == 2
    assert "the pattern leaves out [0, 1, 2, 3]" in own_backend.output()


@posix
def test_an_engine_that_does_not_resume_makes_all_anew(own_backend):
    """The client has been told so: what comes again is written over."""
    with own_backend.connect() as peer:
        fields = {"engine": "test_pattern_anew"}
        events = follow(peer, submit(peer, "die_once=4", **fields))
        assert [event.index for event in events if isinstance(event, messages.Frame)] == [*range(4), *range(9)]
        assert_frames(events, expected_frames("die_once=4", **fields))
    assert own_backend.output().count("the pattern leaves out []") == 2


@posix
@pytest.mark.parametrize("prompt, ends", [("hang_once=3", messages.Done), ("hang=3", messages.Failed)])
def test_a_worker_that_hangs_is_ended_and_the_next_job_runs(start_backend, monkeypatch, prompt, ends):
    monkeypatch.setenv("DAS_HANG_SECONDS", "2")
    backend = start_backend()
    with backend.connect() as peer:
        first, second = submit(peer, prompt), submit(peer, seed=4)
        events = follow(peer, first)
        assert isinstance(events[-1], ends)
        if ends is messages.Done:
            assert_frames(events, expected_frames(prompt))
            assert "made no progress for 2 s" in events[-1].notes[0]
        else:
            assert events[-1].kind == "hung" and "made no progress" in events[-1].message and events[-1].fix
        assert_frames(follow(peer, second), expected_frames(seed=4))


@posix
def test_a_stopped_worker_hangs_too(start_backend, monkeypatch):
    monkeypatch.setenv("DAS_HANG_SECONDS", "2")
    backend = start_backend()
    with backend.connect() as peer:
        job = submit(peer, "sleep=0.1")
        before = follow(peer, job, last=messages.Progress)
        before += follow(peer, job, last=messages.Frame)
        os.kill(worker_pid(backend), signal.SIGSTOP)
        assert_frames(before + follow(peer, job), expected_frames("sleep=0.1"))


def test_what_the_machine_lacks_ends_its_job_with_a_fix(own_backend):
    with own_backend.connect() as peer:
        follow(peer, submit(peer))
        for by, kind in (("disk", "disk_full"), ("memory", "out_of_memory"), ("driver", "driver")):
            pid, released = worker_pid(own_backend), own_backend.output().count("the pattern is released")
            failed = follow(peer, submit(peer, f"fail=2 by={by}"))[-1]
            assert (failed.kind, bool(failed.fix)) == (kind, True) and "\n" not in failed.message
            assert_frames(follow(peer, submit(peer)), expected_frames())
            assert (worker_pid(own_backend) != pid) == (by == "driver"), "its process can use the card no more"
            assert own_backend.output().count("the pattern is released") - released == (by == "memory")


@posix
def test_cancel_of_a_worker_that_does_not_heed(own_backend):
    with own_backend.connect() as peer:
        job = submit(peer, "hang=2")
        follow(peer, job, last=messages.Frame)
        peer.cancel(job)
        assert isinstance(follow(peer, job)[-1], messages.Cancelled)
        assert_frames(follow(peer, submit(peer)), expected_frames())


@posix
def test_the_worker_goes_with_a_server_that_is_killed(own_backend):
    with own_backend.connect() as peer:
        follow(peer, submit(peer, "hang=2"), last=messages.Frame)
        pid = worker_pid(own_backend)
        assert pid_alive(pid)
        own_backend.kill()
        until(lambda: not pid_alive(pid))


def test_how_it_ended():
    assert how_it_ended(3) == "with code 3"
    if sys.platform != "win32":
        assert how_it_ended(-9) == "by signal SIGKILL"


# ---- the spool


def test_signals_are_spooled_whole_and_mapped(tmp_path):
    folder, signals = JobFolder(tmp_path / uuid.uuid4().hex), make_signals(make_request())
    folder.write_signals(signals)
    mapped = folder.read_signals()
    assert sorted(mapped) == sorted(signals)
    for name, array in signals.items():
        assert isinstance(mapped[name], np.memmap)
        np.testing.assert_array_equal(mapped[name], array)
        with pytest.raises(ValueError):
            mapped[name][...] = 0
    assert sorted(file.name for file in folder.folder.iterdir()) == ["signals"]


def test_a_write_that_fails_leaves_nothing(tmp_path, monkeypatch):
    folder, signals = JobFolder(tmp_path / "job"), make_signals(make_request())

    def full(*_args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        folder.write_signals(signals)
    with pytest.raises(OSError):
        folder.write_frame(3, signals["first_frame"])
    assert not folder.has_signals() and folder.frame_indices() == []
    assert [file for file in folder.folder.rglob("*") if file.is_file()] == []


def test_of_a_frame_that_was_received_only_a_mark_stays(tmp_path):
    folder, pixels = JobFolder(tmp_path / "job"), make_signals(make_request())["first_frame"]
    assert folder.frame_indices() == [] and folder.received_indices() == []
    for index in (8, 0, 3):
        folder.write_frame(index, pixels)
    for _ in range(2):
        folder.receive_frame(3)
    assert folder.frame_indices() == [0, 8] and folder.received_indices() == [3]
    assert sum(file.stat().st_size for file in folder.frames.glob("*.received")) == 0
    np.testing.assert_array_equal(folder.read_frame(8)[1], pixels)
    folder.lose_frames([3, 5])
    assert folder.received_indices() == []
    folder.drop_frames()
    assert folder.frame_indices() == []


def test_an_idle_worker_gives_its_memory_back_and_works_on(start_backend, monkeypatch):
    monkeypatch.setenv("DAS_IDLE_SECONDS", "0.2")
    backend = start_backend()
    with backend.connect() as peer:
        for _ in range(2):
            released = backend.output().count("the pattern is released")
            assert_frames(follow(peer, submit(peer)), expected_frames())
            until(lambda: backend.output().count("the pattern is released") > released)


# ---- what is kept for the next job


def test_memory_is_given_back_when_a_client_asks(backend, peer):
    follow(peer, submit(peer))
    released = backend.output().count("the pattern is released")
    assert peer.release_memory()
    assert backend.output().count("the pattern is released") == released + 1
    assert peer.release_memory(), "where nothing is kept there is nothing to wait for"
    assert backend.output().count("the pattern is released") == released + 1
    assert_frames(follow(peer, submit(peer)), expected_frames())


def test_a_running_job_keeps_its_memory(backend, peer):
    job = submit(peer, "sleep=0.05")
    follow(peer, job, last=messages.Frame)
    released = backend.output().count("the pattern is released")
    assert not peer.release_memory()
    follow(peer, job)
    assert backend.output().count("the pattern is released") == released


@posix
def test_a_worker_that_dies_gives_its_memory_back_too(own_backend):
    with own_backend.connect() as peer:
        follow(peer, submit(peer))
        pid = worker_pid(own_backend)
        os.kill(pid, signal.SIGSTOP)  # it will not answer
        try:
            with pytest.raises(BackendError):
                peer.release_memory(0.3)
        finally:
            os.kill(pid, signal.SIGKILL)
        until(peer.release_memory)
