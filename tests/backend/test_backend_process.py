"""Finding the backend, or starting it: once, apart from us, with the log's word where it fails."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time

import msgspec
import pytest
from conftest import SECONDS, environment, follow, know_backend, submit, until

from diffusion_as_shader.shared import backend_process, client, home, messages, wire
from diffusion_as_shader.shared.errors import BackendError
from diffusion_as_shader.shared.processes import pid_alive


@pytest.fixture
def installed(das_home, monkeypatch):
    """A home whose environments.json names this Python; what was started in it is stopped."""
    for name, value in environment(das_home).items():
        monkeypatch.setenv(name, value)
    know_backend()
    yield das_home
    backend_process.stop_backend(SECONDS)


def test_started_used_and_gone_with_its_last_lease(installed):
    connection = backend_process.ensure_backend()
    assert backend_process.ensure_backend() == connection
    with client.connect(connection, "test") as peer:
        assert isinstance(follow(peer, submit(peer))[-1], messages.Done)
    until(lambda: not pid_alive(connection.pid))
    assert backend_process.find_backend() is None
    assert not home.connection_file().exists()
    assert "ready on" in backend_process.log_file().read_text()


def test_two_starters_get_the_same_backend(installed):
    found = []
    starters = [threading.Thread(target=lambda: found.append(backend_process.ensure_backend())) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        starter.join(SECONDS)
    assert len(found) == 3 and len({connection.pid for connection in found}) == 1


def test_starting_in_steps_never_blocks(installed):
    longest, steps, connection = 0.0, backend_process.starting(), None
    while connection is None:
        began = time.perf_counter()
        connection = next(steps)
        longest = max(longest, time.perf_counter() - began)
        time.sleep(0.01)
    greeting = client.connecting(connection, "test")
    peer = until(lambda: next(greeting))
    peer.close()
    print(f"longest step {1000 * longest:.1f} ms")
    assert longest < 0.2  # the step that forks the process


@pytest.mark.skipif(sys.platform == "win32", reason="process groups")
def test_a_terminals_ctrl_c_does_not_reach_it(installed):
    connection = backend_process.ensure_backend()
    assert os.getpgid(connection.pid) not in (os.getpgid(0), 0)


def stale(**changes) -> wire.ConnectionFile:
    keys = wire.make_keys()
    fields = dict(
        protocol=messages.PROTOCOL_VERSION, host="127.0.0.1", port=1, server_public=keys[0], client_public=keys[0],
        client_secret=keys[1], pid=os.getpid(), machine=socket.gethostname(), started=0.0,
    )
    return wire.ConnectionFile(**(fields | changes))


def test_stale_files_are_recognised_and_replaced(installed):
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        ended.wait()
    for left_over in (stale(pid=ended.pid), stale()):  # a dead process; an id that somebody else has now
        wire.write_connection(left_over, home.connection_file())
        assert backend_process.find_backend() is None
    home.connection_file().write_text("{not JSON")
    assert backend_process.find_backend() is None
    assert backend_process.ensure_backend().pid != os.getpid()


def test_a_backend_of_another_protocol_version(installed):
    connection = backend_process.ensure_backend()
    wire.write_connection(msgspec.structs.replace(connection, protocol=99), home.connection_file())
    with pytest.raises(BackendError) as caught:
        client.connect(backend_process.ensure_backend(), "test")
    assert "protocol 99" in caught.value.message and "same version" in caught.value.fix
    wire.write_connection(connection, home.connection_file())


def test_no_backend_is_installed():
    home.environments_file().unlink(missing_ok=True)
    with pytest.raises(BackendError) as caught:
        backend_process.ensure_backend()
    assert caught.value.message == "No backend is installed." and "install/run.py setup" in caught.value.fix


@pytest.mark.skipif(sys.platform == "win32", reason="needs a script as Python")
def test_a_backend_that_ends_as_it_starts_is_told_with_its_last_words(tmp_path):
    broken = tmp_path / "python"
    broken.write_text("#!/bin/sh\necho 'ModuleNotFoundError: No module named zmq' >&2\nexit 3\n")
    broken.chmod(0o755)
    know_backend(str(broken))
    with pytest.raises(BackendError) as caught:
        backend_process.ensure_backend()
    assert "code 3" in caught.value.message and "No module named zmq" in caught.value.message
    assert "backend.log" in caught.value.fix


@pytest.mark.skipif(sys.platform == "win32", reason="needs a script as Python")
def test_a_backend_that_never_gets_ready(tmp_path):
    slow = tmp_path / "python"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    know_backend(str(slow))
    with pytest.raises(BackendError, match="not ready after"):
        backend_process.ensure_backend(timeout=0.5)


def test_stopping(installed):
    backend_process.stop_backend()  # none runs
    pid = backend_process.ensure_backend().pid
    backend_process.stop_backend()
    until(lambda: not pid_alive(pid))


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_a_backend_that_hangs_is_killed_in_the_end(installed):
    pid = backend_process.ensure_backend().pid
    os.kill(pid, signal.SIGSTOP)
    backend_process.stop_backend(0.3)
    assert not pid_alive(pid) and backend_process.find_backend() is None


def test_das_serve_of_a_second_backend_is_exit_4(installed):
    backend_process.ensure_backend()
    command = [sys.executable, "-m", "diffusion_as_shader.backend", "serve"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert second.returncode == 4
    assert "runs already" in second.stderr and "Traceback" not in second.stderr
