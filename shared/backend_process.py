"""Find the backend of this user, or start it."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from . import client, home, logs, wire
from .errors import BackendError, UsageError
from .processes import pid_alive, stop_process

ALREADY_RUNNING_CODE = 75  # EX_TEMPFAIL: another one came first
LEASE_SECONDS = 10.0
SECONDS_TO_START = 60.0
SECONDS_TO_STOP = 5.0
SECONDS_BETWEEN_LOOKS = 0.05
SECONDS_TO_TOUCH = 0.5


def find_backend() -> wire.ConnectionFile | None:
    """The connection file of a backend that runs, or None. A stale file is left for the next backend to replace.

    The variable DAS_CONNECTION names another's, which may run on another machine. NotPrivate where others can read the file.
    """
    connection = wire.read_connection(home.chosen_connection() or home.connection_file())
    return connection if connection and _listens(connection) else None


def _listens(connection: wire.ConnectionFile) -> bool:
    """Its process lives and its port is open: a process id may have been given to somebody else since."""
    if connection.is_local and not pid_alive(connection.pid):
        return False
    try:
        socket.create_connection((connection.host, connection.port), SECONDS_TO_TOUCH).close()
    except OSError:
        return False
    return True


def ensure_backend(timeout: float = SECONDS_TO_START) -> wire.ConnectionFile:
    """The backend that runs, or a new one. BackendError where none can be started, with the log's last line."""
    for connection in starting(timeout):
        if connection is not None:
            return connection
        time.sleep(SECONDS_BETWEEN_LOOKS)
    raise AssertionError("starting() ends with a connection or an error")


def starting(timeout: float = SECONDS_TO_START) -> Iterator[wire.ConnectionFile | None]:
    """As :func:`ensure_backend` in steps that do not block: None until the last one, which is the connection."""
    if chosen := home.chosen_connection():
        yield _chosen(chosen)
        return
    end, process = time.monotonic() + timeout, None
    while True:
        connection = find_backend()
        if connection is not None:
            yield connection
            return
        process = process or start_backend()
        if process.poll() == ALREADY_RUNNING_CODE:
            process = None  # somebody else's is about to be ready, or to end
        elif process.poll() is not None:
            raise BackendError(
                f"The backend ended with code {process.returncode} as it started: {last_log_line()}",
                f"See {log_file()}, or run python3 install/run.py setup.",
                "repair_backend",
            )
        if time.monotonic() > end:
            if process:
                process.kill()
            raise BackendError(
                f"The backend was not ready after {timeout:.0f} s: {last_log_line()}", f"See {log_file()}.", "restart_backend"
            )
        yield None


def _chosen(file: Path) -> wire.ConnectionFile:
    """The backend that the user has named, or why it cannot be used; nothing else is taken in its place."""
    connection = wire.read_connection(file)
    if connection is None:
        raise UsageError(f"{file} is no connection file.", "Copy the one that das serve writes on the backend's machine.")
    if not _listens(connection):
        raise BackendError(
            f"No backend listens at {connection.address}, which {file} names.",
            "Start das serve there, and copy its connection file again: its keys are made anew at each start.",
        )
    return connection


def start_backend() -> subprocess.Popen:
    """Start a backend that lives as long as somebody holds a lease on it, apart from our terminal's Ctrl-C."""
    python = _backend_python()
    log_file().parent.mkdir(parents=True, exist_ok=True)
    logs.turn(home.log_folder())
    apart = (
        {"creationflags": subprocess.CREATE_NEW_PROCESS_GROUP | subprocess.CREATE_NO_WINDOW}
        if sys.platform == "win32"
        else {"start_new_session": True}
    )
    command = [python, "-m", "diffusion_as_shader.backend", "serve", "--lease", str(LEASE_SECONDS)]
    with log_file().open("ab") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=home.home(), **apart)


def stop_backend(timeout: float = SECONDS_TO_STOP) -> None:
    """Stop the backend that runs, if one does: ask, wait, terminate, wait, kill, wait, at most ``timeout`` seconds each.

    BackendError where nothing helps. One on another machine can only be asked.
    """
    for _ in stopping(timeout):
        time.sleep(SECONDS_BETWEEN_LOOKS)


def stopping(timeout: float = SECONDS_TO_STOP) -> Iterator[None]:
    """As :func:`stop_backend` in steps that do not block."""
    connection = find_backend()
    if connection is None:
        return
    for ask in (_ask_to_stop, *([_terminate, _kill] if connection.is_local else [])):
        yield from ask(connection, timeout)
        end = time.monotonic() + timeout
        while runs := _runs(connection):
            if time.monotonic() > end:
                break
            yield
        if not runs:
            return
    raise BackendError("The backend does not stop.", f"End the process {connection.pid}.")


def _ask_to_stop(connection: wire.ConnectionFile, timeout: float) -> Iterator[None]:
    with suppress(BackendError):  # it does not answer
        for peer in client.connecting(connection, "stop", timeout):
            if peer is None:
                yield
            else:
                peer.shutdown()


def _terminate(connection: wire.ConnectionFile, timeout: float) -> Iterator[None]:
    stop_process(connection.pid)
    yield


def _kill(connection: wire.ConnectionFile, timeout: float) -> Iterator[None]:
    stop_process(connection.pid, hard=True)
    yield


def _runs(connection: wire.ConnectionFile) -> bool:
    return pid_alive(connection.pid) if connection.is_local else find_backend() == connection


def log_file() -> Path:
    """Where a backend that we started writes, and what its worker prints."""
    return home.log_folder() / "backend.log"


def last_log_line() -> str:
    """The log's last line, or that there is none."""
    try:
        lines = log_file().read_text(encoding="utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        lines = []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it has said nothing.")


def _backend_python() -> str:
    known = home.environments("backend")
    if not known:
        raise BackendError(
            "No backend is installed.",
            "Install it in the add-on's preferences, or run python3 install/run.py setup in the project's folder.",
            "install_backend",
        )
    return known[0].python
