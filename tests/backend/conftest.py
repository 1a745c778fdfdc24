"""A live backend with an engine for tests, in a process of its own and a home of its own."""

import os
import subprocess
import sys
import time
import uuid
from pathlib import Path

import msgspec
import numpy as np
import pytest

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import pattern_engine  # noqa: E402

from diffusion_as_shader.shared import client, home, messages, wire  # noqa: E402
from diffusion_as_shader.shared.request import GenerationRequest  # noqa: E402

SECONDS = 30.0  # every wait's bound; on a busy machine processes start slowly


def until(happened, seconds: float = SECONDS):
    """Poll until ``happened()`` is true; its value."""
    end = time.monotonic() + seconds
    while not (value := happened()):
        assert time.monotonic() < end, f"not within {seconds} s"
        time.sleep(0.02)
    return value


def environment(folder: Path) -> dict[str, str]:
    """A backend's variables: its home, and the engine for tests."""
    paths = [str(HERE), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "DAS_HOME": str(folder),
        "DAS_EXTRA_ENGINES": ",".join(
            f"{each.name}=pattern_engine:{each.__name__}" for each in (pattern_engine.PatternEngine, pattern_engine.AnewEngine)
        ),
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
    }


class Backend:
    """A backend process. ``lease`` None: it needs none, as `das serve`."""

    command = (sys.executable, "-m", "diffusion_as_shader.backend", "serve")
    seconds_to_start = SECONDS

    def __init__(self, folder: Path, lease: float | None = None):
        self.folder = folder
        self.lease = lease
        self.start()

    def start(self) -> None:
        # Without a lease the command line's parser is asked, as a user would.
        options = ["--lease", str(self.lease)] if self.lease is not None else []
        command = [*self.command, *options]
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(command, env=environment(self.folder), stdout=output, stderr=output)
        self.connection = until(self._published, self.seconds_to_start)

    def _published(self) -> wire.ConnectionFile | None:
        assert self.process.poll() is None, self.output()
        found = wire.read_connection(self.folder / "connection.json")
        return found if found and found.pid == self.process.pid else None

    def output(self) -> str:
        return (self.folder / "output.txt").read_text()

    def connect(self, name: str = "test") -> client.Client:
        return client.connect(self.connection, name, SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)

    def stop(self) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise


@pytest.fixture(scope="module")
def backend(tmp_path_factory):
    """One backend for a module's tests, which leave it well."""
    running = Backend(tmp_path_factory.mktemp("backend"))
    yield running
    running.stop()


@pytest.fixture
def start_backend(tmp_path):
    """Starts backends that a test may ruin, all in one home; what is left of them is stopped."""
    started = []

    def start(lease: float | None = None) -> Backend:
        started.append(Backend(tmp_path, lease))
        return started[-1]

    yield start
    for running in started:
        running.stop()


@pytest.fixture
def own_backend(start_backend):
    """A backend that a test may ruin."""
    return start_backend()


@pytest.fixture
def peer(backend):
    """A connected client."""
    with backend.connect() as connected:
        yield connected


def make_request(prompt: str = "", **fields) -> GenerationRequest:
    """A small request to the engine for tests; the prompt says how it shall behave."""
    fields = {"engine": pattern_engine.NAME, "width": 32, "height": 16, "frames": 9, "prompt": prompt} | fields
    return GenerationRequest(**fields)


def make_signals(request: GenerationRequest) -> dict[str, np.ndarray]:
    shape = (request.frames, request.height, request.width, 3)
    tracking = np.random.default_rng(request.seed).integers(0, 256, shape, np.uint8)
    return {"tracking": tracking, "first_frame": tracking[0].copy()}


def submit(peer: client.Client, prompt: str = "", **fields) -> str:
    """Hand a small job over; its id."""
    job, request = uuid.uuid4().hex, make_request(prompt, **fields)
    peer.submit(job, request, make_signals(request), title=prompt)
    return job


def follow(peer: client.Client, job: str, last=(messages.Done, messages.Failed, messages.Cancelled), acknowledge=True):
    """A job's events up to one of the kinds ``last``, frames acknowledged as they come."""
    seen, end = [], time.monotonic() + SECONDS
    while not (seen and isinstance(seen[-1], last)):
        assert time.monotonic() < end, f"no end of {[type(event).__name__ for event in seen]}"
        peer.wait(job, 1.0)
        for event in peer.events(job):
            seen.append(event)
            if acknowledge and isinstance(event, messages.Frame):
                peer.received(job, event.index)
    return seen


def frames_of(events) -> dict[int, np.ndarray]:
    return {event.index: event.array for event in events if isinstance(event, messages.Frame)}


def expected_frames(prompt: str = "", **fields) -> dict[int, np.ndarray]:
    """What a job's frames must be."""
    request = make_request(prompt, **fields)
    tracking = make_signals(request)["tracking"]
    return {index: pattern_engine.pattern(tracking, index, request.seed) for index in range(request.frames)}


def assert_frames(events, expected) -> None:
    """Every frame has come, and each exactly."""
    got = frames_of(events)
    assert sorted(got) == sorted(expected)
    for index, pixels in expected.items():
        np.testing.assert_array_equal(got[index], pixels)


def know_backend(python: str = sys.executable) -> None:
    """Write environments.json of this test's home."""
    known = home.Environments(environments=[home.Environment("backend", "test", python)])
    home.environments_file().write_bytes(msgspec.json.encode(known))
