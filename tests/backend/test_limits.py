"""What one client may ask: bounds that hold at the wire, before a job is taken, and in how often and how much it speaks."""

import math
import sys
import time
import tracemalloc
import uuid

import numpy as np
import pytest
from conftest import Backend, follow, make_request, make_signals, submit, until

from diffusion_as_shader.backend import limits
from diffusion_as_shader.backend.intake import SIGNALS, check_submit
from diffusion_as_shader.shared import messages, wire
from diffusion_as_shader.shared.errors import BackendError, UsageError
from diffusion_as_shader.shared.messages import EngineInfo, Submit
from diffusion_as_shader.shared.request import MAX_FRAMES, GenerationRequest
from diffusion_as_shader.shared.task_settings import ObjectManipulation

# The backend with bounds that a test can reach.
SMALL = """
import sys
from diffusion_as_shader.backend import jobs, limits, server, session
server.message_bytes = lambda: 100_000
server.MAX_CLIENTS = 3
jobs.MAX_WAITING_OF_ONE = 2
session.MESSAGES_A_SECOND, session.MESSAGES_AT_ONCE = 50.0, 20.0
from diffusion_as_shader.backend.__main__ import main
sys.exit(main(["serve"]))
"""


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_rate_and_no_more():
    clock = Clock()
    bucket = limits.TokenBucket(10, 5, clock)
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    assert bucket.wait() == pytest.approx(0.1)
    clock.now = 0.25
    assert [bucket.take() for _ in range(3)] == [True, True, False]
    clock.now = 1000.0
    assert [bucket.take() for _ in range(6)] == [True] * 5 + [False]
    clock.now = 0.0  # a clock that went back gives nothing, and takes nothing
    assert bucket.wait() == pytest.approx(0.1)


def test_what_may_wait_follows_from_the_machine():
    assert 0 < limits.message_bytes() <= wire.MAX_MESSAGE_BYTES
    assert limits.machine_memory() > 500e6
    largest = GenerationRequest(frames=MAX_FRAMES)
    assert _bytes_of_every_signal(largest) < wire.MAX_MESSAGE_BYTES


def _bytes_of_every_signal(request) -> int:
    forms = [(dtypes[-1], shape(request.frames, request.height, request.width)) for dtypes, shape in SIGNALS.values()]
    return sum(np.dtype(dtype).itemsize * math.prod(shape) for dtype, shape in forms)


def test_a_job_is_judged_by_its_outline_which_takes_no_memory():
    request = GenerationRequest(engine="das", width=720, height=480, frames=17)
    frames = [bytes(frame) for frame in wire.encode(Submit(job="a" * 32, request=request, signals=make_signals(request)))]
    tracemalloc.start()
    outline = wire.outline(frames, messages.ToServer)
    check_submit(outline, [EngineInfo(name="das")])
    with pytest.raises(UsageError, match="makes 32x16"):
        check_submit(outline, [EngineInfo(name="das", sizes=[(32, 16)])])
    assert tracemalloc.get_traced_memory()[1] < 200_000
    tracemalloc.stop()
    assert wire.size(frames) > 17e6 and outline.signals["tracking"].shape == (17, 480, 720, 3)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"prompt": "p" * 4001}, "4000 characters"),
        ({"points": "x" * 70_000}, "64 KB"),
        ({"source": "x" * 70_000}, "64 KB"),
        ({"object": ObjectManipulation(click=(float("nan"), 1.0))}, "not finite"),
        ({"guidance_scale": float("nan")}, "guidance scale"),
        ({"frames": 2**40 + 1}, "frames"),
    ],
)
def test_requests_are_bounded(fields, said):
    request = make_request(**fields)
    with pytest.raises(UsageError, match=said) as caught:
        check_submit(Submit(job="a" * 32, request=request, signals=make_signals(make_request())), [EngineInfo(name=request.engine)])
    assert caught.value.fix


class SmallBackend(Backend):
    command = (sys.executable, "-c", SMALL)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    running = SmallBackend(tmp_path_factory.mktemp("small"))
    yield running
    running.stop()


def test_a_job_beyond_the_machine_is_refused_with_its_size(small):
    with small.connect() as peer:
        (failed,) = follow(peer, submit(peer, width=128, height=128))
        assert failed.kind == "usage" and "0.0 GB" in failed.message and failed.fix
        assert isinstance(follow(peer, submit(peer))[-1], messages.Done)


def test_jobs_of_one_client_wait_up_to_a_number(small):
    with small.connect("many") as many, small.connect("other") as other:
        running = submit(many, "sleep=0.2", frames=49)
        follow(many, running, last=messages.Frame)
        waiting = [submit(many, seed=seed) for seed in range(2)]
        for job in waiting:
            follow(many, job, last=messages.Accepted)
        (failed,) = follow(many, submit(many, seed=3))
        assert failed.kind == "backend" and "2 jobs" in failed.message and failed.fix
        own = submit(other)
        assert isinstance(follow(other, own, last=messages.Accepted)[-1], messages.Accepted)
        for job in (running, *waiting):
            many.cancel(job)
            follow(many, job)
        follow(other, own)


def test_clients_are_counted(small):
    peers = [small.connect(str(number)) for number in range(3)]
    with pytest.raises(BackendError, match="Too many clients"):
        small.connect("one too many")
    peers.pop().close()
    until(lambda: _connects(small))
    for peer in peers:
        peer.close()


def _connects(small) -> bool:
    try:
        small.connect("again").close()
    except BackendError:
        return False
    return True


def test_who_speaks_too_fast_is_slowed_down_and_not_lost(small):
    with small.connect("fast") as fast, small.connect("calm") as calm:
        began = time.monotonic()
        for _ in range(40):
            fast.list()
        assert time.monotonic() - began > 0.3  # 20 at once, then 50 a second
        began = time.monotonic()
        calm.list()
        assert time.monotonic() - began < 0.2


def test_more_than_an_inbox_holds_is_refused_by_name(small):
    with small.connect("flood") as flood:
        for _ in range(limits.INBOX_MESSAGES + 60):
            flood._send(messages.Status(job=uuid.UUID(int=5).hex))
        busy = until(lambda: flood.hear() or [answer for answer in flood._answers if answer.kind == "busy"])
        assert busy[0].to == "status" and busy[0].job == uuid.UUID(int=5).hex and busy[0].fix
    with small.connect("after") as after:
        assert isinstance(after.list(), list)
