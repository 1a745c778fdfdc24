"""A backend for other machines: bound where it is asked for, its file to copy, and a client that is led there and nowhere else."""

import json
import socket
import stat
import subprocess
import sys

import msgspec
import pytest
from conftest import Backend, assert_frames, environment, expected_frames, follow, make_request, make_signals, submit

from diffusion_as_shader.backend import listening
from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.shared import backend_process, client, home, wire
from diffusion_as_shader.shared.errors import BackendError, UsageError
from diffusion_as_shader.shared.private_file import NotPrivate
from diffusion_as_shader.shared.take import Take

# The tests stay on the loopback: a second address of it stands for another machine's.
OTHER_LOOPBACK = "127.0.0.2"
OPEN = f"""
import sys
from diffusion_as_shader.backend import listening, server
listening._outward_address = lambda: "{OTHER_LOOPBACK}"
server.is_remote = lambda host: True
from diffusion_as_shader.backend.__main__ import main
sys.exit(main(["serve", "--host", "{OTHER_LOOPBACK if sys.platform == 'linux' else '127.0.0.1'}"]))
"""


class OpenBackend(Backend):
    command = (sys.executable, "-c", OPEN)


@pytest.fixture(scope="module")
def remote(tmp_path_factory):
    running = OpenBackend(tmp_path_factory.mktemp("remote"))
    yield running
    running.stop()


@pytest.fixture
def copied(remote, tmp_path):
    """The file as it lies on the other machine."""
    file = tmp_path / "copied.json"
    file.write_bytes((remote.folder / listening.REMOTE_NAME).read_bytes())
    file.chmod(0o600)
    return file


def test_the_file_to_copy_leads_there_and_knows_no_process(remote, copied):
    connection = wire.read_connection(copied)
    assert connection.machine == "" and not connection.is_local and remote.connection.is_local
    assert connection.port == remote.connection.port
    if sys.platform != "win32":
        assert stat.S_IMODE((remote.folder / listening.REMOTE_NAME).stat().st_mode) == 0o600
    assert "by a safe way only" in remote.output()


def test_a_client_uses_the_backend_that_is_named(remote, copied, monkeypatch):
    monkeypatch.setenv("DAS_CONNECTION", str(copied))
    connection = backend_process.ensure_backend()
    assert connection.server_public == remote.connection.server_public
    with client.connect(connection, "elsewhere") as peer:
        assert_frames(follow(peer, submit(peer)), expected_frames())
    assert not home.connection_file().exists()


def test_a_named_backend_that_is_not_there_is_not_replaced(copied, tmp_path, monkeypatch):
    for content, error, said in (
        (None, UsageError, "no connection file"),
        (b"{}", UsageError, "no connection file"),
        (_elsewhere(copied), BackendError, "No backend listens"),
    ):
        named = tmp_path / "named.json"
        if content is not None:
            named.write_bytes(content)
            named.chmod(0o600)
        monkeypatch.setenv("DAS_CONNECTION", str(named))
        with pytest.raises(error, match=said) as caught:
            backend_process.ensure_backend()
        assert caught.value.fix and not home.log_folder().exists()


def _elsewhere(copied) -> bytes:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    return msgspec.json.encode(msgspec.structs.replace(wire.read_connection(copied), host="127.0.0.1", port=port))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has access lists instead of a mode")
def test_a_copy_that_others_can_read_is_not_used(copied, monkeypatch):
    copied.chmod(0o644)
    monkeypatch.setenv("DAS_CONNECTION", str(copied))
    with pytest.raises(NotPrivate, match="others can read it") as caught:
        backend_process.find_backend()
    assert "chmod 600" in caught.value.fix


def test_generate_takes_the_file_as_an_option(copied, tmp_path):
    request = make_request()
    signals = make_signals(request)
    take = Take.create(tmp_path / "take", request, ImageioImages())
    for index, frame in enumerate(signals["tracking"]):
        take.write_tracking_frame(index, frame)
    take.write_first_frame(signals["first_frame"])
    take.save()
    assert _das(tmp_path, "generate", str(take.folder), "--connection", str(copied))[0] == 0
    assert Take.open(take.folder, ImageioImages()).missing_frames() == []
    take.frame_file(0).unlink()
    copied.write_bytes(_elsewhere(copied))
    code, lines = _das(tmp_path, "generate", str(take.folder), "-o", str(tmp_path / "again"), "--connection", str(copied))
    assert code == 4 and "No backend listens" in lines[-1]["message"]


def _das(folder, *words) -> tuple[int, list[dict]]:
    """The command line in a home of its own: exit code, and what it said."""
    command = [sys.executable, "-m", "diffusion_as_shader", *words, "--json"]
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, timeout=60)
    assert "Traceback" not in done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize("host, said", [("192.0.2.1", "cannot listen on 192.0.2.1"), ("no such host.invalid", "no address")])
def test_an_address_that_is_not_ours_is_a_sentence(host, said, tmp_path):
    code, lines = _das(tmp_path, "serve", "--host", host)
    assert code == 2 and said in lines[-1]["message"] and lines[-1]["fix"]
    assert not (tmp_path / "connection.json").exists()


@pytest.mark.parametrize(
    "host, remote, here, elsewhere",
    [
        ("127.0.0.1", False, "127.0.0.1", "127.0.0.1"),
        ("localhost", False, "127.0.0.1", "127.0.0.1"),
        ("::1", False, "::1", "::1"),
        ("10.1.2.3", True, "10.1.2.3", "10.1.2.3"),
        ("0.0.0.0", True, "127.0.0.1", "10.9.9.9"),
        ("::", True, "::1", "10.9.9.9"),
    ],
)
def test_how_a_server_is_reached(monkeypatch, host, remote, here, elsewhere):
    monkeypatch.setattr(listening, "_outward_address", lambda: "10.9.9.9")
    assert listening.is_remote(host) == remote
    connection = wire.ConnectionFile(
        protocol=1, host=host, port=5, server_public="", client_public="", client_secret="", pid=1, machine="m", started=0.0
    )
    assert listening.for_this_machine(connection).host in (here, "::1" if host == "localhost" else here)
    assert listening.for_other_machines(connection).host in (elsewhere, "::1" if host == "localhost" else elsewhere)
    assert listening.for_this_machine(connection).machine == "m"


def test_ipv6_is_served(tmp_path):
    class Six(Backend):
        command = (sys.executable, "-m", "diffusion_as_shader.backend", "serve", "--host", "::1")

    if not socket.has_ipv6 or not _has_six():
        pytest.skip("this machine has no IPv6")
    running = Six(tmp_path)
    try:
        assert running.connection.address.startswith("tcp://[::1]:")
        with running.connect() as peer:
            assert peer.list() == []
    finally:
        running.stop()


def _has_six() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
