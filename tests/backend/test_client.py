"""The client: cancelling, coming back for what was missed, a backend that dies, and never blocking."""

import signal
import time

import pytest
from conftest import SECONDS, assert_frames, expected_frames, follow, frames_of, make_request, make_signals, submit, until

from diffusion_as_shader.backend.delivery import FRAMES_IN_FLIGHT
from diffusion_as_shader.shared import client, messages, wire
from diffusion_as_shader.shared.errors import BackendError, UsageError


def test_cancel_of_a_running_job_acts_at_once(peer):
    job = submit(peer, "sleep=30")
    follow(peer, job, last=messages.Preview)
    began = time.monotonic()
    peer.cancel(job)
    assert isinstance(follow(peer, job)[-1], messages.Cancelled)
    assert time.monotonic() - began < 1.0
    assert peer.status(job).state == "cancelled"


def test_cancel_of_a_waiting_job(peer):
    running, waiting = submit(peer, "sleep=0.05", frames=49), submit(peer)
    follow(peer, running, last=messages.Frame)
    peer.cancel(waiting)
    assert [type(event) for event in follow(peer, waiting)] == [messages.Accepted, messages.Cancelled]
    assert peer.status(running).state == "running"
    peer.cancel(running)
    follow(peer, running)


def test_cancel_right_after_submit(peer):
    job = submit(peer, "sleep=30")
    peer.cancel(job)
    assert isinstance(follow(peer, job)[-1], messages.Cancelled)


def test_cancel_of_an_ended_job_tells_its_end_again(peer):
    job = submit(peer)
    done = follow(peer, job)[-1]
    peer.cancel(job)
    assert peer.status(job).state == "done"
    assert peer.events(job) in ([], [done])


def test_a_cancelled_job_is_tried_again(peer):
    job = submit(peer, "sleep=0.05")
    first = follow(peer, job, last=messages.Frame)
    peer.cancel(job)
    first += follow(peer, job)
    peer.retry(job)
    events = follow(peer, job)
    assert isinstance(events[-1], messages.Done)
    assert_frames(first + events, expected_frames("sleep=0.05"))


def test_who_comes_back_gets_what_is_missing(backend):
    gone = backend.connect("gone")
    job = submit(gone, "sleep=0.05", frames=17)
    first = follow(gone, job, last=messages.Frame)
    gone.abandon()
    have = sorted(frames_of(first))
    with backend.connect("back") as back:
        until(lambda: back.status(job).state == "done")
        assert back.attach(job, have).state == "done"
        events = follow(back, job)
    expected = expected_frames("sleep=0.05", frames=17)
    assert_frames(events, {index: pixels for index, pixels in expected.items() if index not in have})
    assert isinstance(events[-1], messages.Done)
    until(lambda: not (backend.folder / "spool" / job).exists())


def test_a_job_is_taken_over_while_it_runs(backend, peer):
    job = submit(peer, "sleep=0.05", frames=17)
    first = follow(peer, job, last=messages.Frame)
    with backend.connect("new") as new:
        new.attach(job, sorted(frames_of(first)))
        assert follow(peer, job)[-1].kind == "taken_over"
        events = follow(new, job)
    expected = expected_frames("sleep=0.05", frames=17)
    assert sorted(set(frames_of(first)) | set(frames_of(events))) == sorted(expected)


def test_attach_to_what_is_no_longer_there(peer):
    with pytest.raises(UsageError):
        peer.attach("e" * 32, [])
    job = submit(peer)
    follow(peer, job)
    until(lambda: peer.status(job).state == "done")
    with pytest.raises(UsageError, match="no longer kept"):
        peer.attach(job, [])
    assert peer.attach(job, list(range(9))).state == "done"


def test_a_question_can_be_asked_in_steps(peer):
    job = submit(peer)
    assert client.returned(peer.looking_up(job)).job == job
    with pytest.raises(UsageError):
        client.returned(peer.looking_up("e" * 32))


def test_a_slow_reader_is_sent_no_more_than_it_has_acknowledged(peer):
    job = submit(peer, frames=49)
    until(lambda: peer.status(job).state == "done")
    events = peer.events(job)
    assert sorted(frames_of(events)) == list(range(FRAMES_IN_FLIGHT))
    assert not isinstance(events[-1], messages.Done)
    for index in frames_of(events):
        peer.received(job, index)
    events += follow(peer, job)
    assert_frames(events, expected_frames(frames=49))


def test_of_all_jobs_together_a_slow_reader_is_sent_little(peer):
    """Eight frames, and one more of each further job, so that none waits for another."""
    jobs = [submit(peer, frames=17, seed=seed) for seed in range(3)]
    until(lambda: all(peer.status(job).state == "done" for job in jobs))
    events = {job: peer.events(job) for job in jobs}
    assert [len(frames_of(events[job])) for job in jobs] == [FRAMES_IN_FLIGHT, 1, 1]
    for seed, job in enumerate(jobs):
        for index in frames_of(events[job]):
            peer.received(job, index)
        assert_frames(events[job] + follow(peer, job), expected_frames(frames=17, seed=seed))


def test_a_backend_that_is_killed_is_noticed_once(own_backend):
    peer = own_backend.connect()
    job = submit(peer, "sleep=0.1", frames=49)
    follow(peer, job, last=messages.Frame)
    own_backend.kill()
    failed = follow(peer, job)[-1]
    assert failed.kind == "backend_lost" and failed.fix
    assert peer.events(job) == []
    with pytest.raises(BackendError):
        peer.list(timeout=1)
    began = time.monotonic()
    peer.close()
    assert time.monotonic() - began < 1


def test_a_killed_backend_comes_back_with_its_queue(own_backend):
    peer = own_backend.connect()
    running, waiting = submit(peer, "sleep=0.05", frames=25), submit(peer, seed=9)
    follow(peer, waiting, last=messages.Accepted)
    before = follow(peer, running, last=messages.Frame)
    own_backend.kill()
    peer.abandon()
    own_backend.start()
    with own_backend.connect("again") as again:
        have = sorted(frames_of(before))
        again.attach(running, have)
        events = follow(again, running)
        assert isinstance(events[-1], messages.Done)
        assert sorted([*have, *frames_of(events)]) == list(range(25))
        again.attach(waiting, [])
        assert_frames(follow(again, waiting), expected_frames(seed=9))


def test_silence_is_judged_by_the_clock_after_reading(own_backend):
    """A hung backend is lost after ten seconds; a client that was away itself is not deceived."""
    now = [0.0]
    peer = client.Client(own_backend.connection, "test", clock=lambda: now[0])
    until(lambda: peer.hear() or peer.welcome)
    for _ in range(3):
        now[0] += 100
        peer.hear()
        until(lambda: peer.hear() or not peer._unanswered)
    assert not peer.is_gone()
    own_backend.process.send_signal(signal.SIGSTOP)
    try:
        now[0] += wire.HEARTBEAT_SECONDS
        peer.hear()
        now[0] += wire.SILENCE_SECONDS - 1
        peer.hear()
        assert not peer.is_gone()
        now[0] += 2
        peer.hear()
        assert peer.is_gone()
    finally:
        own_backend.process.send_signal(signal.SIGCONT)
        peer.abandon()


def test_nobody_answers():
    keys = wire.make_keys()
    nobody = wire.ConnectionFile(
        protocol=messages.PROTOCOL_VERSION, host="127.0.0.1", port=9, server_public=keys[0], client_public=keys[0],
        client_secret=keys[1], pid=1, machine="elsewhere", started=0.0,
    )
    with pytest.raises(BackendError, match="does not answer") as caught:
        client.connect(nobody, "test", timeout=0.3)
    assert caught.value.fix


def test_calls_do_not_block(backend):
    """What a timer tick of Blender calls: 20 ms are its bound, the median of each stays far below."""
    with backend.connect() as peer:
        request = make_request(width=720, height=480, frames=49)
        signals, job = make_signals(request), "b" * 32
        times = {}

        def timed(name, call):
            began = time.perf_counter()
            value = call()
            times.setdefault(name, []).append(time.perf_counter() - began)
            return value

        timed("submit", lambda: peer.submit(job, request, signals))
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            events = timed("events", lambda: peer.events(job))
            for event in events:
                if isinstance(event, messages.Frame):
                    timed("received", lambda: peer.received(job, event.index))
            if events and isinstance(events[-1], messages.Done):
                break
            time.sleep(0.01)
        timed("refresh", peer.refresh)
    medians = {name: sorted(values)[len(values) // 2] for name, values in times.items()}
    print({name: f"{1000 * value:.2f} ms" for name, value in medians.items()})
    assert max(medians.values()) < 0.02
