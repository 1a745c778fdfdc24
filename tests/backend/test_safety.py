"""Who has no key is not served, who keeps the door busy does not close it, and logs tell no secrets."""

import re
import socket
import sys
import time
import uuid
from pathlib import Path

import msgspec
import pytest
import zmq
from conftest import Backend, follow, make_request, make_signals, submit, until

from diffusion_as_shader.shared import messages, wire
from diffusion_as_shader.shared.errors import BackendError

SECRET_PROMPT = "the heiress of Kastellorizo on a roof"
# Its keys as they are made go to a file; a handshake may take a second; it may hold few connections.
WATCHED = """
import os, resource, sys
from diffusion_as_shader.shared import wire
resource.setrlimit(resource.RLIMIT_NOFILE, (120, 120))
wire.HANDSHAKE_SECONDS = 1.0
made = wire.make_keys
def make_keys():
    keys = made()
    with open(os.path.join(os.environ["DAS_HOME"], "keys.txt"), "a") as file:
        print(*keys, sep=chr(10), file=file)
    return keys
wire.make_keys = make_keys
from diffusion_as_shader.backend.__main__ import main
sys.exit(main(["serve"]))
"""

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="its stand-in for a full table of files is POSIX")


class WatchedBackend(Backend):
    command = (sys.executable, "-c", WATCHED)


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    running = WatchedBackend(tmp_path_factory.mktemp("watched"))
    yield running
    running.stop()


@pytest.mark.parametrize("mechanism", ["null", "plain", "another key", "another server's key"])
def test_only_curve_with_the_right_keys_is_served(watched, mechanism):
    hello = wire.encode(messages.Hello(protocol=messages.PROTOCOL_VERSION))
    right = watched.connection
    with zmq.Context() as context, context.socket(zmq.DEALER) as stranger:
        stranger.linger = 0
        if mechanism == "plain":
            stranger.plain_username, stranger.plain_password = b"admin", b"admin"
        elif mechanism == "another key":
            wire.join_curve(stranger, right.server_public, *wire.make_keys())
        elif mechanism == "another server's key":
            wire.join_curve(stranger, wire.make_keys()[0], right.client_public, right.client_secret)
        stranger.connect(right.address)
        stranger.send_multipart(hello)
        assert not stranger.poll(700)
    with watched.connect() as good:
        assert isinstance(good.list(), list)


def test_a_flood_of_connections_is_over_when_it_ends(watched):
    """They say nothing, and are more than the server can hold; after the time of a handshake there is room again."""
    address, held = (watched.connection.host, watched.connection.port), []
    with pytest.raises(OSError):
        for _ in range(1000):
            held.append(socket.create_connection(address, 0.3))
    assert len(held) > 80 and watched.process.poll() is None
    began = time.monotonic()
    until(lambda: _served(watched))
    assert time.monotonic() - began < 10
    for one in held:
        one.close()


def _served(backend) -> bool:
    try:
        with backend.connect() as good:
            return isinstance(good.list(), list)
    except BackendError:
        return False


def test_logs_hold_no_keys_and_no_prompts(watched):
    with watched.connect("a name\nwith a line of its own") as peer:
        for how in ("", "fail=0", "quote=1", "leave=3", "sleep=0.2"):
            job = submit(peer, f"{SECRET_PROMPT} {how}", frames=9, negative_prompt=SECRET_PROMPT[::-1])
            if "sleep" in how:
                follow(peer, job, last=messages.Frame)
                peer.cancel(job)
            follow(peer, job)
        peer.submit(uuid.uuid4().hex, make_request(SECRET_PROMPT, frames=10), make_signals(make_request()))
        peer._socket.send(msgspec.msgpack.encode({"type": "submit", "job": SECRET_PROMPT}))
        peer.list()
    logs = {file: file.read_text() for file in _written(watched.folder) if file.suffix in (".txt", ".log") and file.name != "keys.txt"}
    text = "\n".join(logs.values())
    assert len(logs) >= 2 and "the pattern is torn" in text and "nothing can be drawn of" in text and "[prompt]" in text
    for secret in (SECRET_PROMPT, SECRET_PROMPT[::-1], *(watched.folder / "keys.txt").read_text().split()):
        assert secret not in text
    assert not re.search("^with a line of its own", text, re.MULTILINE)


def test_keys_lie_in_the_connection_file_alone(watched):
    keys = (watched.folder / "keys.txt").read_bytes().split()
    assert len(keys) == 6
    for file in _written(watched.folder):
        if file.name not in ("keys.txt", "connection.json"):
            assert not [key for key in keys if key in file.read_bytes()], file
    for secret in Path("/proc").glob(f"{watched.process.pid}/cmdline"), Path("/proc").glob(f"{watched.process.pid}/environ"):
        assert not [key for file in secret for key in keys if key in file.read_bytes()]


def _written(folder: Path) -> list[Path]:
    return [file for file in folder.rglob("*") if file.is_file()]


@pytest.mark.parametrize("name", ["../../x", "..\\x", "/tmp/x", "C:x", "a/b", "a\0b", "", ".", "tracking.npy", "x" * 5000])
def test_names_of_signals_are_never_paths(watched, name):
    job, request = uuid.uuid4().hex, make_request()
    before = set(_written(watched.folder))
    with watched.connect() as peer:
        for work in ("generate", "prepare"):
            signals = make_signals(request)
            peer.submit(job, request, signals | {name: signals["first_frame"], "source": signals["tracking"]}, work=work)
            (failed,) = follow(peer, job)
            assert failed.kind == "usage"
    assert not (watched.folder / "spool" / job).exists()
    assert {file for file in set(_written(watched.folder)) - before if "spool" not in file.parts} == set()


def test_the_spool_is_its_users_alone(watched):
    assert (watched.folder / "spool").stat().st_mode & 0o077 == 0
