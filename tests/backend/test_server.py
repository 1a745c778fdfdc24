"""A live server: every answer is of the schema, nonsense is refused and forgotten, clients do not disturb each other."""

import subprocess
import sys
import time
import uuid

import msgspec
import numpy as np
import pytest
import zmq
from conftest import (
    SECONDS,
    Backend,
    assert_frames,
    expected_frames,
    follow,
    make_request,
    make_signals,
    submit,
    until,
)

from diffusion_as_shader.shared import client, messages, wire
from diffusion_as_shader.shared.errors import BackendError, UsageError

NOBODY = "f" * 32


class Raw:
    """A DEALER that says whatever a test wants said."""

    def __init__(self, connection, keys=None):
        self.context = zmq.Context()
        self.socket = self.context.socket(zmq.DEALER)
        public, secret = keys or (connection.client_public, connection.client_secret)
        wire.join_curve(self.socket, connection.server_public, public, secret)
        self.socket.connect(connection.address)

    def say(self, *frames) -> None:
        self.socket.send_multipart(frames)

    def hear(self, seconds: float = SECONDS):
        """The next answer but heartbeats, checked against the schema; None where none comes."""
        end = time.monotonic() + seconds
        while self.socket.poll(max(0, end - time.monotonic()) * 1000):
            message = wire.decode(self.socket.recv_multipart(), messages.ToClient)
            if not isinstance(message, messages.Heartbeat):
                return message
        return None

    def ask(self, message):
        self.say(*wire.encode(message))
        return self.hear()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.socket.close(0)
        self.context.term()


@pytest.fixture
def raw(backend):
    with Raw(backend.connection) as said:
        assert isinstance(said.ask(messages.Hello(protocol=messages.PROTOCOL_VERSION, name="raw")), messages.Welcome)
        yield said


def test_welcome_says_what_the_backend_can_do(backend, peer):
    engines = {engine.name: engine for engine in peer.engines}
    assert engines["test_pattern"].available and engines["test_pattern"].preview
    assert "projection" in engines
    assert peer.welcome.protocol == messages.PROTOCOL_VERSION
    assert peer.welcome.pid == backend.process.pid


def test_every_answer_is_of_the_schema(raw):
    job, request = uuid.uuid4().hex, make_request()
    answer = raw.ask(messages.Submit(job=job, request=request, signals=make_signals(request)))
    assert answer == messages.Accepted(job=job, position=0)
    kinds = []
    while not isinstance(answer, messages.Done):
        answer = raw.hear()
        kinds.append(type(answer))
        if isinstance(answer, messages.Frame):
            raw.say(*wire.encode(messages.Received(job=job, index=answer.index)))
    assert set(kinds) == {messages.Preview, messages.Progress, messages.Frame, messages.Done}
    assert raw.ask(messages.Status(job=job)).info.state == "done"
    assert job in [entry.job for entry in raw.ask(messages.List()).jobs]
    for message in (messages.Status, messages.Cancel, messages.Retry, messages.Attach):
        refused = raw.ask(message(job=NOBODY))
        assert isinstance(refused, messages.Refused) and refused.job == NOBODY and refused.fix
    assert raw.ask(messages.Reorder(job=job, position=0)).to == "reorder"
    assert raw.ask(messages.Retry(job=job)).to == "retry"


def test_nonsense_is_refused_and_forgotten(backend, raw, peer):
    job = "0" * 32
    unruly = {"type": "submit", "job": job, "request": {}, "signals": {"a": {"dtype": "|O", "shape": [1], "chunks": 1}}}
    for frames in (
        [b""],
        [b"\xc1"],
        [b"", b"", b""],
        [b"x" * 2_000_000],
        [msgspec.msgpack.encode({"type": "welcome"})],
        [msgspec.msgpack.encode({"type": "cancel", "job": "../.."})],
        [msgspec.msgpack.encode(unruly), b"12345678"],
        [msgspec.msgpack.encode({"type": "list"}), b"more than it needs"],
    ):
        raw.say(*frames)
        assert raw.hear().kind == "malformed"
    assert_frames(follow(peer, submit(peer)), expected_frames())
    assert backend.process.poll() is None


def test_who_has_gone_is_heard_no_more(own_backend):
    """Whatever it has said after its release, even at once."""
    with Raw(own_backend.connection) as raw:
        assert isinstance(raw.ask(messages.Hello(protocol=messages.PROTOCOL_VERSION)), messages.Welcome)
        for message in (messages.Release(), messages.Release(), messages.Cancel(job=NOBODY), messages.Shutdown()):
            raw.say(*wire.encode(message))
        answers = []
        while (answer := raw.ask(messages.Hello(protocol=messages.PROTOCOL_VERSION))) and not isinstance(answer, messages.Welcome):
            answers.append(answer)
    assert {answer.kind for answer in answers} <= {"no_session"}
    assert own_backend.process.poll() is None and "Traceback" not in own_backend.output()


def test_who_has_not_said_hello_is_not_served(backend):
    with Raw(backend.connection) as stranger:
        assert stranger.ask(messages.List()).kind == "no_session"
        assert stranger.ask(messages.Heartbeat(number=1)).kind == "no_session"


def test_other_keys_are_not_let_in(backend):
    hello = messages.Hello(protocol=messages.PROTOCOL_VERSION)
    with Raw(backend.connection, wire.make_keys()) as stranger:
        stranger.say(*wire.encode(hello))
        assert stranger.hear(1.0) is None
    with zmq.Context() as context, context.socket(zmq.DEALER) as plain:
        plain.linger = 0
        plain.connect(backend.connection.address)
        plain.send_multipart(wire.encode(hello))
        assert not plain.poll(500)


def test_a_frame_beyond_the_bound_costs_the_sender_its_connection_only(backend, peer):
    with Raw(backend.connection) as greedy:
        greedy.say(b"x" * (wire.CHUNK_BYTES + (1 << 20)))
        assert greedy.hear(0.5) is None
    assert peer.list() is not None


def test_another_protocol_version_is_told_with_its_fix(backend, monkeypatch):
    with Raw(backend.connection) as old:
        refused = old.ask(messages.Hello(protocol=messages.PROTOCOL_VERSION + 1))
        assert refused.kind == "protocol_version" and refused.fix
        assert old.ask(messages.List()).kind == "no_session"
    monkeypatch.setattr(messages, "PROTOCOL_VERSION", 99)
    with pytest.raises(BackendError) as caught:
        backend.connect()
    assert "protocol 1" in caught.value.message and "99" in caught.value.message and caught.value.fix
    newer = msgspec.structs.replace(backend.connection, protocol=99)  # a file that lies: the server itself must tell
    with pytest.raises(BackendError, match="speaks protocol 1"):
        client.connect(newer, "test", SECONDS)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"tracking": None}, "tracking is missing"),
        ({"first_frame": None}, "first_frame is missing"),
        ({"tracking": np.zeros((9, 16, 30, 3), np.uint8)}, "tracking is uint8"),
        ({"tracking": np.zeros((9, 16, 32, 3), np.float32)}, "tracking is float32"),
        ({"../../owned": np.zeros(1, np.uint8)}, "no signal"),
        ({"depth": np.zeros((9, 16, 32), np.float64)}, "depth is float64"),
    ],
)
def test_wrong_signals_are_refused_before_they_are_spooled(backend, peer, change, said):
    job, request = uuid.uuid4().hex, make_request()
    signals = {name: array for name, array in (make_signals(request) | change).items() if array is not None}
    peer.submit(job, request, signals)
    (failed,) = follow(peer, job)
    assert failed.kind == "usage" and said in failed.message and failed.fix
    assert not (backend.folder / "spool" / job).exists()


def test_wrong_requests_are_refused(peer):
    for fields, said in (({"engine": "magic"}, "no engine magic"), ({"frames": 10}, "10 frames"), ({"width": 33}, "33x16")):
        request, job = make_request(**fields), uuid.uuid4().hex
        peer.submit(job, request, make_signals(request))
        (failed,) = follow(peer, job)
        assert said in failed.message and failed.fix


def test_two_clients_at_once(backend):
    with backend.connect("one") as one, backend.connect("two") as two:
        jobs = [(peer, seed, submit(peer, seed=seed)) for seed, peer in enumerate((one, two, one, two))]
        for peer, seed, job in jobs:
            assert_frames(follow(peer, job), expected_frames(seed=seed))
        assert {entry.client for entry in one.list()} >= {"one", "two"}


def test_a_client_is_served_while_another_submits(backend, peer):
    """The server spools 60 MB for one; the other's question is not held up by it."""
    with backend.connect("big") as big:
        fields = {"width": 720, "height": 480, "frames": 57}
        job = submit(big, **fields)
        slowest = 0.0
        while not big.wait(job, 0):
            began = time.monotonic()
            peer.list()
            slowest = max(slowest, time.monotonic() - began)
        assert isinstance(big.events(job)[0], messages.Accepted)
        big.cancel(job)
        follow(big, job)
    assert slowest < 0.5


def test_waiting_jobs_are_moved(peer):
    running = submit(peer, "sleep=0.05", frames=49)
    follow(peer, running, last=messages.Frame)
    jobs = [submit(peer, seed=seed) for seed in range(3)]
    for job in jobs:
        follow(peer, job, last=messages.Accepted)
    listed = [entry.job for entry in peer.reorder(jobs[2], 0) if entry.state == "queued"]
    assert listed == [jobs[2], jobs[0], jobs[1]]
    with pytest.raises(UsageError):
        peer.reorder(running, 0)
    peer.cancel(running)
    for job in jobs:
        follow(peer, job)
    ended = sorted((peer.status(job) for job in jobs), key=lambda entry: entry.updated)
    assert [entry.job for entry in ended] == [jobs[2], jobs[0], jobs[1]]


def test_the_same_job_sent_again_runs_once(peer):
    job, request = uuid.uuid4().hex, make_request("sleep=0.02")
    for _ in range(2):
        peer.submit(job, request, make_signals(request))
    events = follow(peer, job)
    assert [type(event) for event in events].count(messages.Accepted) == 2
    assert_frames(events, expected_frames("sleep=0.02"))
    assert [entry.job for entry in peer.list()].count(job) == 1


def test_the_same_job_of_many_clients_at_once_runs_once(own_backend):
    """Their sockets are read in turn, and the arrays of all are on their way to the disk at the same time."""
    peers = [own_backend.connect(str(number)) for number in range(6)]
    job, request = uuid.uuid4().hex, make_request(width=256, height=256, frames=17)
    for peer in peers:
        peer.submit(job, request, make_signals(request))
    for peer in peers:
        assert isinstance(follow(peer, job, last=(messages.Accepted, messages.Failed, messages.Done))[0], messages.Accepted)
    until(lambda: peers[0].status(job).state == "done")
    for peer in peers:
        peer.close()
    assert "Traceback" not in own_backend.output()


def test_one_backend_a_user(backend):
    with pytest.raises(AssertionError, match="runs already"):
        Backend(backend.folder)
    assert backend.process.poll() is None


def test_a_leased_backend_goes_with_its_last_client(start_backend):
    leased = start_backend(lease=10)
    one, two = leased.connect("one"), leased.connect("two")
    one.close()
    assert two.list() == []
    assert leased.process.poll() is None
    two.close()
    assert leased.process.wait(SECONDS) == 0
    assert not (leased.folder / "connection.json").exists()


def test_a_leased_backend_goes_after_its_client_has_vanished_and_keeps_the_job(start_backend):
    leased = start_backend(lease=0.5)
    crashing = leased.connect()
    job = submit(crashing, "sleep=0.2", frames=49)
    follow(crashing, job, last=messages.Frame)
    crashing.abandon()
    assert leased.process.wait(SECONDS) == 0
    with start_backend().connect() as peer:
        assert peer.status(job).state in ("queued", "running")
        peer.cancel(job)
        until(lambda: peer.status(job).state == "cancelled")


def test_a_client_on_this_machine_whose_process_is_gone_is_missed_at_once(backend):
    """Sooner than by its silence alone, of which four seconds would be needed."""
    code = (
        "import sys, time; from diffusion_as_shader.shared import client, wire; from pathlib import Path\n"
        "peer = client.connect(wire.read_connection(Path(sys.argv[1])), 'doomed'); print('up', flush=True); time.sleep(600)"
    )
    file = backend.folder / "connection.json"
    with subprocess.Popen([sys.executable, "-c", code, str(file)], stdout=subprocess.PIPE) as doomed:
        try:
            assert doomed.stdout.readline().strip() == b"up"
        finally:
            doomed.kill()
    killed = time.monotonic()
    until(lambda: "doomed has vanished" in backend.output())
    assert time.monotonic() - killed < 2 * wire.HEARTBEAT_SECONDS - 1


def test_a_silent_client_keeps_its_lease(start_backend):
    """Blender's main thread may render for long: ZeroMQ's thread answers for it."""
    leased = start_backend(lease=0.5)
    busy = leased.connect()
    with pytest.raises(Exception, match="timed out"):
        leased.process.wait(2 * wire.HEARTBEAT_SECONDS + 2)
    assert busy.list() == []
    busy.close()
    assert leased.process.wait(SECONDS) == 0


def test_shutdown_ends_the_backend_for_all(own_backend):
    other, job = own_backend.connect("other"), None
    job = submit(other, "sleep=0.2", frames=49)
    follow(other, job, last=messages.Frame)
    own_backend.connect("boss").shutdown()
    (*_, failed) = follow(other, job)
    assert failed.kind == "backend_stopped"
    assert own_backend.process.wait(SECONDS) == 0
    other.close()
