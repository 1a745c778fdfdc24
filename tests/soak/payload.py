"""Tracking videos of 51 MB, back to back: how fast the backend takes them, beside ZeroMQ alone.

Three lines to another process, by turns: ZeroMQ as it comes, ZeroMQ with CURVE and our chunks (frames taken, nothing
looked at), and the backend, which decodes and checks, writes it all to the disk and answers ``accepted``.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import zmq

from diffusion_as_shader.shared import messages, wire
from diffusion_as_shader.shared.request import GenerationRequest

from .backend import ENGINE, SECONDS, Backend, environment
from .options import Options, hold

FRAMES, HEIGHT, WIDTH = 49, 480, 720
MOST_SECONDS = 5.0  # for the backend's, on the slowest machine


def run(options: Options, folder: Path, frames: int = FRAMES) -> Iterator[str]:
    """``options.rounds`` times each line; medians, best and worst."""
    tracking = np.random.default_rng(options.seed).integers(0, 256, (frames, HEIGHT, WIDTH, 3), np.uint8)
    with ExitStack() as stack:
        lines = {
            "raw ZeroMQ": stack.enter_context(receiver(folder, None)),
            "ZeroMQ with CURVE": stack.enter_context(receiver(folder, wire.make_keys())),
            "the backend": stack.enter_context(submitter(folder)),
        }
        for line in lines.values():
            line(tracking)
        times: dict[str, list[float]] = {name: [] for name in lines}
        for _ in range(options.rounds):
            for name, line in lines.items():
                began = time.perf_counter()
                line(tracking)
                times[name].append(time.perf_counter() - began)
    for name, taken in times.items():
        yield told(name, taken, tracking.nbytes)
    hold([(statistics.median(times["the backend"]) < MOST_SECONDS, "The backend takes a tracking video too slowly.")])


def told(name: str, taken: list[float], length: int) -> str:
    median = statistics.median(taken)
    return (
        f"{name}: {length / 1e6:.0f} MB in {median:.3f} s, {length / median / 1e6:.0f} MB/s"
        f" (median of {len(taken)}; {min(taken):.3f} to {max(taken):.3f} s)"
    )


@contextmanager
def receiver(folder: Path, keys: tuple[str, str] | None) -> Iterator[Callable[[np.ndarray], None]]:
    """A line to a process that takes all frames of a message and answers; encrypted where it has keys."""
    child = subprocess.Popen(
        [sys.executable, "-m", "soak.receiver"], env=environment(folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        child.stdin.write(json.dumps(keys) + "\n")
        child.stdin.flush()
        with zmq.Context() as context, context.socket(zmq.DEALER) as dealer:
            dealer.linger, dealer.rcvtimeo = 0, int(SECONDS * 1000)
            if keys:
                wire.join_curve(dealer, keys[0], *wire.make_keys())
            dealer.connect(child.stdout.readline().strip())

            def cross(tracking: np.ndarray) -> None:
                dealer.send_multipart(wire.encode(_submit(tracking)), copy=False)
                dealer.recv()

            yield cross
    finally:
        child.kill()
        child.communicate()


@contextmanager
def submitter(folder: Path) -> Iterator[Callable[[np.ndarray], None]]:
    """A line to a backend, whose only worker is busy with a job that takes its time."""
    with Backend(folder) as backend, backend.connect("payload") as peer:
        busy = uuid.uuid4().hex
        small = np.zeros((9, 16, 32, 3), np.uint8)
        endless = GenerationRequest(engine=ENGINE, width=32, height=16, frames=9, prompt="sleep=60")
        peer.submit(busy, endless, {"tracking": small, "first_frame": small[0]})
        _accepted(peer, busy)

        def cross(tracking: np.ndarray) -> None:
            message = _submit(tracking)
            peer.submit(message.job, message.request, message.signals)
            _accepted(peer, message.job)

        yield cross
        for info in peer.list():
            peer.cancel(info.job)


def _accepted(peer, job: str) -> None:
    assert peer.wait(job, SECONDS), "no answer to a job"
    event = peer.events(job)[0]
    assert isinstance(event, messages.Accepted), event


def _submit(tracking: np.ndarray) -> messages.Submit:
    request = GenerationRequest(engine=ENGINE, width=WIDTH, height=HEIGHT, frames=len(tracking))
    return messages.Submit(job=uuid.uuid4().hex, request=request, signals={"tracking": tracking, "first_frame": tracking[0]})
