"""What a soak of jobs does, all of it from one seed: who asks for what, who changes his mind, who is killed when."""

from __future__ import annotations

import random
from typing import Literal

import msgspec

from diffusion_as_shader.shared.request import GenerationRequest

from .backend import ANEW, ENGINE

WIDTH, HEIGHT = 32, 16
FRAMES = (9, 17, 25)
SHARE_CANCELLED, SHARE_FAILING, SHARE_DEADLY = 0.15, 0.04, 0.02
LEAVES_A_CLIENT = 2
STRIKES_A_JOB = {"worker": 1 / 14, "hung worker": 1 / 40, "server": 1 / 20, "client": 1 / 12}

Victim = Literal["worker", "hung worker", "server", "client", "clock"]
Leave = Literal["close", "abandon"]


class JobPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A job; ``cancel_after`` so many of its frames, None: never."""

    job: str
    seed: int
    frames: int
    prompt: str
    engine: str = ENGINE
    cancel_after: int | None = None

    @property
    def request(self) -> GenerationRequest:
        return GenerationRequest(
            engine=self.engine, width=WIDTH, height=HEIGHT, frames=self.frames, seed=self.seed, prompt=self.prompt
        )


class ClientPlan(msgspec.Struct, frozen=True, kw_only=True):
    """A client: its jobs in their order, and after how many frames of its own it leaves, and how, to come back."""

    name: str
    jobs: list[JobPlan]
    leaves: dict[int, Leave]


class Strike(msgspec.Struct, frozen=True, kw_only=True):
    """A kill: once ``at`` frames of the whole have come, ``delay`` seconds later; back ``pause`` seconds after that.

    ``gently`` asks a server to end instead; ``which`` is the client's number. A hung worker is only stopped.
    """

    at: int
    victim: Victim
    which: int = 0
    gently: bool = False
    delay: float = 0.0
    pause: float = 0.0


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    seed: str
    clients: list[ClientPlan]
    strikes: list[Strike]

    @property
    def jobs(self) -> list[JobPlan]:
        return [job for client in self.clients for job in client.jobs]


def make_plan(seed: str, jobs: int, clients: int) -> Plan:
    """The plan of a seed, the same on every machine."""
    chance = random.Random(seed)
    shares = [range(number, jobs, clients) for number in range(clients)]
    players = [_client(chance, number, [_job(chance) for _ in share]) for number, share in enumerate(shares)]
    strikes = _strikes(chance, jobs, clients, sum(job.frames for player in players for job in player.jobs))
    return Plan(seed=seed, clients=players, strikes=strikes)


def _job(chance: random.Random) -> JobPlan:
    frames = chance.choice(FRAMES)
    words, cancel_after, kind = [f"sleep={chance.choice((0, 0.005, 0.02))}"], None, chance.random()
    if kind < SHARE_CANCELLED:
        cancel_after = chance.randrange(frames)
    elif kind < SHARE_CANCELLED + SHARE_FAILING:
        words.append(f"fail={chance.randrange(frames)}")
    elif kind < SHARE_CANCELLED + SHARE_FAILING + SHARE_DEADLY:
        words.append(f"die={chance.randrange(frames)}")
    return JobPlan(
        job=f"{chance.getrandbits(128):032x}",
        seed=chance.randrange(1 << 30),
        frames=frames,
        prompt=" ".join(words),
        engine=chance.choice((ENGINE, ANEW)),
        cancel_after=cancel_after,
    )


def _client(chance: random.Random, number: int, jobs: list[JobPlan]) -> ClientPlan:
    total = sum(job.frames for job in jobs)
    leaves = {chance.randrange(1, max(2, total)): chance.choice(("close", "abandon")) for _ in range(LEAVES_A_CLIENT)}
    return ClientPlan(name=f"client {number}", jobs=jobs, leaves=leaves)


def _strikes(chance: random.Random, jobs: int, clients: int, frames: int) -> list[Strike]:
    """At least one of each, between a fiftieth and nine tenths of the way."""
    strikes = [
        Strike(
            at=chance.randrange(frames // 50, max(1, frames * 9 // 10)),
            victim=victim,
            which=chance.randrange(clients),
            gently=victim == "server" and chance.random() < 0.2,
            delay=chance.random() * 0.1,
            pause=chance.random() * 0.5,
        )
        for victim, share in STRIKES_A_JOB.items()
        for _ in range(max(1, round(jobs * share)))
    ]
    return sorted(strikes, key=lambda strike: strike.at)
