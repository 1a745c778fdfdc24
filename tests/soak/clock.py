"""Clocks that jump: the wall clock by years to and fro, the steady one by hours forward, as after a sleep.

Every job is done at its first attempt, every lease is kept, and a client whose own clock jumps keeps its connection.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec

from diffusion_as_shader.shared import client

from . import faults
from .backend import SECONDS, Backend
from .jobs import Campaign, Leased, Served
from .options import Broken, Options, hold
from .plan import JobPlan, Plan, Strike, make_plan
from .processes import until
from .talk import follow, is_right, make_request, submit

YEARS = 365.25 * 86400 * 10
HOURS = 3600.0 * 12
SHARE_OF_JOBS = 5  # one in so many of the options' jobs
JUMPS = 12


class _Jumping(Campaign):
    """A campaign whose strikes move the clocks of the backend's processes instead of killing anybody."""

    forgets = True

    def __init__(self, plan: Plan, folder: Path, patience: float):
        super().__init__(plan, folder, patience)
        self.variables = faults.variables()
        self._chance, self._steady = random.Random(plan.seed), 0.0

    def _carry_out(self, strike: Strike) -> None:
        self._steady += self._chance.choice((0.0, self._chance.uniform(0, HOURS)))
        wall = self._chance.uniform(-YEARS, YEARS)
        faults.set_clocks(self.folder, faults.Jump(wall=wall, monotonic=self._steady))
        self.struck["clock"] += 1


class ServedJumping(_Jumping, Served):
    pass


class LeasedJumping(_Jumping, Leased):
    pass


def run(options: Options, folder: Path) -> Iterator[str]:
    """Both kinds of backend, then a client."""
    for kind in (ServedJumping, LeasedJumping):
        name = kind.__name__.lower()
        (folder / name).mkdir()
        plan = peaceful(make_plan(f"{name} {options.seed}", max(2, options.jobs // SHARE_OF_JOBS), options.clients), JUMPS)
        campaign = kind(plan, folder / name, options.seconds)
        yield from (f"{name}: {figure}" for figure in campaign.run())
        tried = campaign.audit.tried_again
        hold([(not tried, f"{name}: Jobs were tried again though nobody was killed: {', '.join(tried)}.")])
    yield from jump_at_the_client(folder / "client", options)


def peaceful(plan: Plan, jumps: int) -> Plan:
    """A plan in which no job fails or is cancelled and no client leaves, and only clocks are struck."""
    chance = random.Random(plan.seed)
    clients = [msgspec.structs.replace(one, jobs=[_honest(job) for job in one.jobs], leaves={}) for one in plan.clients]
    frames = sum(job.frames for job in plan.jobs)
    strikes = [Strike(at=chance.randrange(max(1, frames * 9 // 10)), victim="clock") for _ in range(jumps)]
    return msgspec.structs.replace(plan, clients=clients, strikes=sorted(strikes, key=lambda strike: strike.at))


def _honest(job: JobPlan) -> JobPlan:
    return msgspec.structs.replace(job, prompt="sleep=0.02", cancel_after=None)


def jump_at_the_client(folder: Path, options: Options, jumps: int = 8) -> Iterator[str]:
    """A client's steady clock jumps by hours while it waits for a job: it is still connected, and gets all of it."""
    folder.mkdir()
    off, chance = [0.0], random.Random(options.seed)
    with Backend(folder) as backend:
        peer = client.Client(backend.connection, "jumping", clock=lambda: time.monotonic() + off[0])
        until(lambda: peer.hear() or peer.welcome, SECONDS, "a welcome")
        for number in range(jumps):
            request = make_request("sleep=0.03", seed=number)
            job = submit(peer, request)
            seen = follow(peer, job, chance.uniform(0, 0.2))
            off[0] += chance.uniform(60, HOURS)
            seen += follow(peer, job, options.seconds)
            if not is_right(seen, request):
                raise Broken([f"After jump {number} of the client's clock the job ended with {seen[-1:]}."])
        peer.close()
    yield f"{jumps} jumps of a client's clock in the middle of a job: each job complete, no connection lost"
