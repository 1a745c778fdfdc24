"""Tests of the model, on networks small enough for seconds on two cores; they need torch, which the model's environment has."""

import os

import pytest

# Two threads of an idle pool that spin cost more than they bring while other tests run.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
torch = pytest.importorskip("torch", reason="needs the model's environment: python3 install/run.py setup --model")


@pytest.fixture(autouse=True, scope="session")
def two_threads():
    torch.set_num_threads(2)
