"""The model, small, on a Ray cluster of two nodes: both generate at once, and make the same to the bit."""

import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pytest

from diffusion_as_shader.backend.models.tiny import write_tiny_checkpoint
from diffusion_as_shader.shared import client, home, messages, wire
from diffusion_as_shader.shared.request import GenerationRequest

sys.path.insert(0, str(Path(__file__).parents[1] / "backend"))
from ray_nodes import start_nodes  # noqa: E402

SECONDS = 120.0  # every wait's bound
SHAPE = (9, 32, 48, 3)


@pytest.fixture
def on_cluster(tmp_path, monkeypatch):
    """A client of a backend whose two workers are on two nodes."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # of the node's workers, as Ray sets it, and of the one here
    with start_nodes(2) as nodes, (tmp_path / "output.txt").open("wb") as output:
        command = [sys.executable, "-m", "diffusion_as_shader.backend", "serve", "--cluster", nodes.address]
        server = subprocess.Popen(command, stdout=output, stderr=output)
        try:
            until(server, lambda: (tmp_path / "output.txt").read_text().count("is ready on") == 2)
            with client.connect(until(server, lambda: wire.read_connection(home.connection_file())), "test", SECONDS) as peer:
                yield peer
        finally:
            server.terminate()
            server.wait(30)


def until(server: subprocess.Popen, happened):
    """Poll until ``happened()`` is true; its value."""
    end = time.monotonic() + SECONDS
    while not (value := happened()):
        assert server.poll() is None and time.monotonic() < end
        time.sleep(0.05)
    return value


def generate(peer, requests: list[GenerationRequest]) -> list[np.ndarray]:
    """All frames of some jobs that are handed over at once."""
    signals = {"tracking": np.random.default_rng(1).integers(0, 256, SHAPE, np.uint8), "first_frame": np.full(SHAPE[1:], 90, np.uint8)}
    jobs = [uuid.uuid4().hex for _ in requests]
    for job, request in zip(jobs, requests):
        peer.submit(job, request, signals)
    return [np.stack([frame for _, frame in sorted(frames_of(peer, job).items())]) for job in jobs]


def frames_of(peer, job: str) -> dict[int, np.ndarray]:
    frames, end = {}, time.monotonic() + SECONDS
    while True:
        assert time.monotonic() < end
        peer.wait(job, 1.0)
        for event in peer.events(job):
            assert not isinstance(event, messages.Failed), event
            if isinstance(event, messages.Frame):
                frames[event.index] = event.array.copy()
                peer.received(job, event.index)
            if isinstance(event, messages.Done):
                return frames


def test_two_nodes_generate_the_same_at_once(on_cluster, tmp_path):
    weights = str(write_tiny_checkpoint(tmp_path / "tiny"))
    request = GenerationRequest(engine="das", weights=weights, width=SHAPE[2], height=SHAPE[1], frames=SHAPE[0], steps=3, prompt="a fox", seed=4)
    first, second = generate(on_cluster, [request, request])
    assert first.shape == SHAPE and first.std() > 5
    np.testing.assert_array_equal(first, second)
    states = (tmp_path / "output.txt").read_text()
    assert len({line.split("on worker ")[1].split(" ")[0] for line in states.splitlines() if " begins on worker " in line}) == 2
