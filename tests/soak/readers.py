"""Clients that read slowly, or never: the server's memory is bounded, and others are served as ever.

A slow reader takes a frame of 1 MB every twentieth of a second. One that never reads asks and asks, with a job that
makes previews. A frozen one (SIGSTOP) loses its lease, and its frames wait for it in the spool.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import zmq

from diffusion_as_shader.shared import client, messages, wire

from .backend import SECONDS, Backend, environment
from .engine import signals_of
from .options import Options, hold
from .processes import memory, until
from .talk import ENDS, follow, is_right, make_request, submit

BIG = {"width": 720, "height": 480}
SECONDS_A_FRAME = 0.05
MOST_MEMORY = 96 << 20  # of the server, above what it had: eight frames of a job at hand, and what is being copied
LONGEST_WAIT = 0.5  # of anybody else, the median far below
QUESTIONS = 20_000
DEAF_JOBS = 16
SECONDS_TO_LOSE = 20.0


class Watch:
    """The server's memory, and how long a client in a process of its own waits for answers meanwhile."""

    def __init__(self, backend: Backend):
        self.peak = self.before = memory(backend.process.pid) or 0
        self.waits: list[float] = []
        self._file = backend.folder / "waits.json"
        self._pid = backend.process.pid
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._look)
        self._witness = subprocess.Popen(
            [sys.executable, "-m", "soak.witness", str(self._file)],
            env=environment(backend.folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._witness.stdout.readline()

    def _look(self) -> None:
        while not self._ended.wait(0.02):
            self.peak = max(self.peak, memory(self._pid) or 0)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *error) -> None:
        self._ended.set()
        self._thread.join()
        self._witness.communicate(timeout=SECONDS)
        self.waits = [took for _, took, _ in json.loads(self._file.read_text())]

    def told(self) -> str:
        memory_told = f"the server's memory rose by {(self.peak - self.before) >> 20} MB at most" if self.peak else "memory not measured here"
        wait = f"median {statistics.median(self.waits) * 1e3:.1f} ms, longest {max(self.waits) * 1e3:.0f} ms"
        return f"{memory_told}; another client's {len(self.waits)} answers: {wait}"

    def hold(self, who: str) -> None:
        hold(
            [
                (self.peak - self.before <= MOST_MEMORY, f"{who} costs the server {(self.peak - self.before) >> 20} MB."),
                (statistics.median(self.waits) <= 0.05, f"{who} makes others wait {statistics.median(self.waits):.3f} s."),
            ]
        )


def run(options: Options, folder: Path) -> Iterator[str]:
    """All three."""
    with Backend(folder) as backend:
        yield from slow_reader(backend, options)
        yield from never_reads(backend, options)
        yield from frozen(backend, options)


def slow_reader(backend: Backend, options: Options, jobs: int = 4, frames: int = 49) -> Iterator[str]:
    """Jobs of large frames, delivered to one who dawdles; every frame is right in the end."""
    with backend.connect("slow") as peer:
        requests = [make_request(seed=options.seed + number, frames=frames, **BIG) for number in range(jobs)]
        ids = [submit(peer, request) for request in requests]
        until(lambda: peer.wait(ids[-1], 0.1), SECONDS, "the last job is accepted")  # what is sent here costs memory, too
        with Watch(backend) as watch:
            wrong = [job for job, request in zip(ids, requests) if not _dawdle(peer, job, request, options.seconds)]
    yield f"slow reader, {jobs} jobs of {frames} frames of 1 MB, one each {SECONDS_A_FRAME} s: {watch.told()}"
    hold([(not wrong, f"A slow reader did not get all of {wrong}.")])
    watch.hold("A slow reader")


def _dawdle(peer: client.Client, job: str, request, patience: float) -> bool:
    """Take a job's events in, waiting after each frame; whether all of it came."""
    seen, last = [], time.monotonic()
    while not (seen and isinstance(seen[-1], ENDS)):
        peer.wait(job, 0.2)
        for event in peer.events(job):
            seen.append(event)
            last = time.monotonic()
            if isinstance(event, messages.Frame):
                time.sleep(SECONDS_A_FRAME)
                peer.received(job, event.index)
        if time.monotonic() - last > patience:
            return False
    return is_right(seen, request)


def never_reads(backend: Backend, options: Options, questions: int = QUESTIONS, jobs: int = DEAF_JOBS) -> Iterator[str]:
    """One with the key who asks for jobs of large frames and for the list of jobs, again and again, and takes no answer."""
    with zmq.Context() as context, context.socket(zmq.DEALER) as deaf, Watch(backend) as watch:
        connection = backend.connection
        wire.join_curve(deaf, connection.server_public, connection.client_public, connection.client_secret)
        deaf.rcvhwm, deaf.rcvbuf, deaf.sndhwm, deaf.sndtimeo = 1, 4096, 10, int(SECONDS * 1000)
        deaf.connect(connection.address)
        request = make_request(seed=options.seed, frames=9, **BIG)
        deaf.send_multipart(wire.encode(messages.Hello(protocol=messages.PROTOCOL_VERSION, name="deaf")))
        for job in (names := [f"{number:032x}" for number in range(jobs)]):
            deaf.send_multipart(wire.encode(messages.Submit(job=job, request=request, signals=signals_of(request))))
        until(lambda: _are_made(backend, names), options.seconds, "the jobs of one that never reads are made")
        deaf.sndtimeo = 1000
        sent, end = 0, time.monotonic() + options.seconds / 2
        while sent < questions and time.monotonic() < end:
            sent += _asked(deaf)
        time.sleep(1.0)  # in which what was asked is answered
    yield f"one that never reads, {jobs} jobs of 9 frames of 1 MB and {sent} questions: {watch.told()}"
    watch.hold("One that never reads")
    yield from _still_works(backend, options)


def _are_made(backend: Backend, jobs: list[str]) -> bool:
    """Every frame of these jobs lies in the spool, as nobody takes one."""
    return all(len(list((backend.folder / "spool" / job / "frames").glob("*.npy"))) == 9 for job in jobs)


def _asked(deaf: zmq.Socket) -> bool:
    try:
        deaf.send_multipart(wire.encode(messages.List()))
    except zmq.Again:
        return False  # the server takes no more of it for now
    return True


def _still_works(backend: Backend, options: Options) -> Iterator[str]:
    request = make_request(seed=options.seed + 1)
    with backend.connect("after") as peer:
        seen = follow(peer, submit(peer, request), options.seconds)
    hold([(is_right(seen, request), f"After one that never reads a job ended with {seen[-1:]}.")])
    yield "a job after that: complete"


def frozen(backend: Backend, options: Options) -> Iterator[str]:
    """A client that is stopped in the middle of a job is given up; thawed, it comes back for what it missed."""
    if not hasattr(signal, "SIGSTOP"):
        yield "no process can be frozen on this system"
        return
    request, job = make_request("sleep=0.02", seed=options.seed, frames=49), "f" * 32
    with subprocess.Popen(
        [sys.executable, "-m", "soak.sleeper", job, str(options.seed)], env=environment(backend.folder), stdout=subprocess.PIPE
    ) as sleeper:
        try:
            assert sleeper.stdout.readline() == b"a frame\n"
            os.kill(sleeper.pid, signal.SIGSTOP)
            began = time.monotonic()
            until(lambda: "sleeper has vanished" in backend.output(), SECONDS_TO_LOSE, "a frozen client is given up")
            lost = time.monotonic() - began
            os.kill(sleeper.pid, signal.SIGCONT)
            said, _ = sleeper.communicate(timeout=options.seconds)
        finally:
            sleeper.kill()
    hold([(said == b"all of it\n", f"A client that was frozen got {said!r}.")])
    yield f"a frozen client is given up after {lost:.0f} s; thawed, it fetched the rest of {request.frames} frames"
