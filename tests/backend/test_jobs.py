"""The life of workers as the jobs see it: one at a time, whatever happens while one is being replaced."""

import asyncio

import pytest

from diffusion_as_shader.backend.jobs import Jobs
from diffusion_as_shader.backend.queue import Queue


class StandInWorker:
    """A worker that ends when it is told to."""

    def __init__(self):
        self.name, self.pid, self.ready, self.job, self.cancel_by = b"stand-in", 0, True, "0" * 32, None
        self.over = asyncio.Event()

    async def ended(self) -> str:
        await self.over.wait()
        return "on purpose"


async def unheard(*_) -> bool:
    return True


@pytest.mark.parametrize("meanwhile, expected", [("another worker was started", 2), ("all was told to stop", 1)])
def test_a_dead_worker_is_replaced_once(tmp_path, monkeypatch, meanwhile, expected):
    async def replace() -> int:
        started = []

        def start() -> StandInWorker:
            started.append(StandInWorker())
            return started[-1]

        jobs = Jobs(Queue(tmp_path / "queue.sqlite"), tmp_path, unheard, unheard, start)

        async def finish(job, event):
            jobs.start_worker() if expected == 2 else setattr(jobs, "_stopping", True)

        monkeypatch.setattr(jobs, "_finish", finish)
        jobs.start_worker()
        started[0].over.set()
        for _ in range(20):
            await asyncio.sleep(0)
        return len(started)

    assert asyncio.run(replace()) == expected
