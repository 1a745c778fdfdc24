"""The spool is kept within its bounds of age and size, and nothing is dropped that is not an ended job's."""

import asyncio
import os

import numpy as np
import pytest

from diffusion_as_shader.backend.pruning import KEPT_SECONDS, Pruning
from diffusion_as_shader.backend.queue import Queue
from diffusion_as_shader.backend.spool import JobFolder
from diffusion_as_shader.shared import logs
from diffusion_as_shader.shared.request import GenerationRequest

NOW = 1e9
MEGABYTE = np.zeros((1000, 1000), np.uint8)


@pytest.fixture
def queue(tmp_path):
    times = iter(NOW - 3600 + number for number in range(1000))
    opened = Queue(tmp_path / "queue.sqlite", clock=lambda: next(times))
    yield opened
    opened.close()


def job(queue, tmp_path, number, *states, signals=True) -> str:
    """A job of a megabyte; the higher the number the later it ended."""
    name = f"{number:032x}"
    queue.add(name, GenerationRequest())
    for state in states:
        queue.set_state(name, state)
    if signals:
        JobFolder(tmp_path / name).write_signals({"tracking": MEGABYTE})
    return name


def prune(queue, tmp_path, now=NOW, in_use=()) -> set[str]:
    """What is left."""
    asyncio.run(Pruning(queue, tmp_path, in_use.__contains__, lambda: now).prune())
    return {entry.name for entry in tmp_path.iterdir() if entry.is_dir()}


def test_ended_jobs_go_after_a_week(queue, tmp_path):
    ended = [job(queue, tmp_path, 0, "cancelled"), job(queue, tmp_path, 1, "running", "failed")]
    others = {job(queue, tmp_path, 2), job(queue, tmp_path, 3, "running")}
    assert prune(queue, tmp_path) == {*ended, *others}
    assert prune(queue, tmp_path, NOW + KEPT_SECONDS, in_use=ended[:1]) == {ended[0], *others}
    assert queue.get(ended[0]) and queue.get(ended[1]) is None


def test_a_wall_clock_that_leaps_makes_nothing_old(queue, tmp_path):
    ended = job(queue, tmp_path, 0, "cancelled")
    wall, steady = [NOW], [5.0]
    pruning = Pruning(queue, tmp_path, lambda name: False, lambda: wall[0], lambda: steady[0])
    for leap in (10 * KEPT_SECONDS, 0.0, KEPT_SECONDS):  # there, back, and slowly on
        wall[0] = NOW + leap
        steady[0] += 1
        asyncio.run(pruning.prune())
    assert queue.get(ended)


def test_beyond_the_bound_of_size_the_oldest_go_first(queue, tmp_path, monkeypatch):
    names = [job(queue, tmp_path, number, "cancelled") for number in range(4)]
    waiting = job(queue, tmp_path, 4)
    monkeypatch.setenv("DAS_SPOOL_GB", "0.0035")
    assert prune(queue, tmp_path) == {*names[2:], waiting}
    monkeypatch.setenv("DAS_SPOOL_GB", "0")
    assert prune(queue, tmp_path) == {waiting}, "what has not ended is never dropped"


def test_at_the_start_what_belongs_to_no_job_goes_but_nothing_that_is_not_ours(queue, tmp_path):
    kept = job(queue, tmp_path, 0, "cancelled")
    fetched, unfetched = (job(queue, tmp_path, number, "running", "done", signals=False) for number in (1, 2))
    for name in (fetched, unfetched):
        JobFolder(tmp_path / name).write_frame(0, MEGABYTE)
    JobFolder(tmp_path / fetched).receive_frame(0)
    JobFolder(tmp_path / ("a" * 32)).write_signals({"tracking": MEGABYTE})
    (tmp_path / "my take").mkdir()
    Pruning(queue, tmp_path, lambda name: False).at_start()
    assert {entry.name for entry in tmp_path.iterdir() if entry.is_dir()} == {kept, unfetched, "my take"}


def test_a_large_log_is_turned_under_the_hands_of_its_writer(tmp_path, monkeypatch):
    monkeypatch.setattr(logs, "LOG_BYTES", 1000)
    with (tmp_path / "backend.log").open("ab", buffering=0) as writer:
        writer.write(b"old\n" * 300)
        logs.turn(tmp_path)
        writer.write(b"new\n")
        logs.turn(tmp_path)
    assert (tmp_path / "backend.log").read_bytes() == b"new\n"
    assert (tmp_path / "backend.log.1").read_bytes() == b"old\n" * 300
    os.utime(tmp_path / "backend.log.1", (1, 1))
    logs.turn(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["backend.log"]
