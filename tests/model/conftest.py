"""Tests of the model, on networks small enough for seconds on two cores; they need torch, which the model's environment has."""

import os
import sys
import time

import msgspec
import pytest

from diffusion_as_shader.shared import home
from diffusion_as_shader.shared.generation import reach_backend

SECONDS = 120.0  # a backend's start is bound by

# Two threads of an idle pool that spin cost more than they bring while other tests run.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
torch = pytest.importorskip("torch", reason="needs the model's environment: python3 install/run.py setup --model")


@pytest.fixture(autouse=True, scope="session")
def two_threads():
    torch.set_num_threads(2)


@pytest.fixture
def peer():
    """A client of a backend that is started for it, from the Python that runs the tests, and ends with it."""
    home.home().mkdir(parents=True, exist_ok=True)
    entry = home.Environment(room="backend", name="model", python=sys.executable)
    home.environments_file().write_bytes(msgspec.json.encode(home.Environments(environments=[entry])))
    end = time.monotonic() + SECONDS
    for peer in reach_backend("test"):
        if peer is not None:
            break
        assert time.monotonic() < end
        time.sleep(0.05)
    with peer:
        yield peer
