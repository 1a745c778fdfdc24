"""A client as a process: it carries out its part of the plan, and goes on from its journal when it was killed.

    python -m soak.player PLAN NUMBER JOURNAL [start]    ``start``: it starts the backend where none runs, as Blender does
"""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from diffusion_as_shader.shared import backend_process, client, generation, messages
from diffusion_as_shader.shared.errors import BackendError, UsageError

from .engine import signals_of
from .journal import Journal
from .plan import ClientPlan, JobPlan, Plan

JOBS_AT_ONCE = 3
SECONDS_BETWEEN_ROUNDS = 0.01
SECONDS_BETWEEN_TRIES = 0.1
GONE = ("backend_lost", "backend_stopped")  # kinds of failures that the client makes up itself: the job goes on
PASSING = ("busy", "backend")  # kinds of refusals that a client waits out

Connect = Callable[[str], client.Client]


class Player:
    """One client: submits, cancels, acknowledges, leaves and comes back, until every job of its plan has ended."""

    def __init__(self, plan: ClientPlan, journal: Journal, connect: Connect):
        self._plan = plan
        self._journal = journal
        self._ledger = journal.ledger
        self._connect = connect
        self._refused_until: dict[str, float] = {}

    def play(self) -> None:
        while self._waiting():
            try:
                self._session(self._connect(self._plan.name))
            except BackendError:
                time.sleep(SECONDS_BETWEEN_TRIES)

    def _waiting(self) -> list[JobPlan]:
        return [plan for plan in self._plan.jobs if not self._ledger.ends[plan.job]]

    def _session(self, peer: client.Client) -> None:
        """From one connection to its end, whoever ends it."""
        try:
            at_hand: set[str] = set()
            while waiting := self._waiting():
                for plan in waiting[:JOBS_AT_ONCE]:
                    if plan.job not in at_hand and time.monotonic() > self._refused_until.get(plan.job, 0):
                        self._take_up(peer, plan)
                        at_hand.add(plan.job)
                    if not self._hear(peer, plan):
                        at_hand.discard(plan.job)
                if peer.is_gone() or self._leaves(peer):
                    return
                time.sleep(SECONDS_BETWEEN_ROUNDS)
            peer.close()
        finally:
            peer.abandon()

    def _take_up(self, peer: client.Client, plan: JobPlan) -> None:
        """Submit a job, also a second time where no answer has come, or let what is missing of it be sent."""
        if plan.job not in self._ledger.accepted:
            self._journal.write("submit", plan.job)
            peer.submit(plan.job, plan.request, signals_of(plan.request), title=plan.prompt)
            return
        try:
            peer.attach(plan.job, sorted(self._ledger.frames[plan.job]))
        except UsageError as error:
            self._journal.write("lost", plan.job, said=str(error))
            raise
        if plan.job in self._ledger.cancelled:
            peer.cancel(plan.job)

    def _hear(self, peer: client.Client, plan: JobPlan) -> bool:
        """Take in what has come of a job; False where it has to be taken up anew."""
        for event in peer.events(plan.job):
            match event:
                case messages.Accepted():
                    self._journal.write("accepted", plan.job)
                case messages.Frame():
                    self._keep(peer, event)
                case messages.Failed() if event.kind in GONE:
                    return False
                case messages.Failed() if event.kind in PASSING and plan.job not in self._ledger.accepted:
                    self._refused_until[plan.job] = time.monotonic() + 10 * SECONDS_BETWEEN_TRIES
                    return False
                case messages.Done() | messages.Failed() | messages.Cancelled():
                    self._journal.write("end", plan.job, said=_ending(event))
        if self._wants_cancel(plan):
            self._journal.write("cancel", plan.job)
            peer.cancel(plan.job)
        return True

    def _keep(self, peer: client.Client, frame: messages.Frame) -> None:
        known = frame.index in self._ledger.frames[frame.job]
        self._journal.write("again" if known else "frame", frame.job, frame.index, hash_of(frame.array))
        peer.received(frame.job, frame.index)

    def _wants_cancel(self, plan: JobPlan) -> bool:
        return (
            plan.cancel_after is not None
            and plan.job in self._ledger.accepted - self._ledger.cancelled
            and not self._ledger.ends[plan.job]
            and len(self._ledger.frames[plan.job]) >= plan.cancel_after
        )

    def _leaves(self, peer: client.Client) -> bool:
        """Leave where the plan says so: with a word, or without."""
        due = [at for at in sorted(self._plan.leaves) if self._ledger.frame_count >= at]
        if len(due) <= self._ledger.leaves:
            return False
        how = self._plan.leaves[due[self._ledger.leaves]]
        self._journal.write("leave", said=how)
        peer.close() if how == "close" else peer.abandon()
        return True


def hash_of(pixels) -> str:
    return hashlib.sha256(pixels.tobytes()).hexdigest()


def _ending(event: messages.Done | messages.Failed | messages.Cancelled) -> str:
    """'done', 'cancelled', or 'failed KIND: message'."""
    if isinstance(event, messages.Failed):
        return f"failed {event.kind}: {event.message}"
    return event.__struct_config__.tag


def join(name: str) -> client.Client:
    """A client of a backend that somebody else starts."""
    connection = backend_process.find_backend()
    if connection is None:
        raise BackendError("No backend runs.")
    return client.connect(connection, name)


def start_or_join(name: str) -> client.Client:
    """A client of the backend that runs, or of one that is started, as Blender's and the command line's."""
    steps: Iterator[client.Client | None] = generation.reach_backend(name)
    for peer in steps:
        if peer is not None:
            return peer
        time.sleep(SECONDS_BETWEEN_ROUNDS)
    raise AssertionError("reach_backend() ends with a client or an error")


def main(argv: list[str]) -> int:
    plan = msgspec.json.decode(Path(argv[0]).read_bytes(), type=Plan)
    connect = start_or_join if "start" in argv[3:] else join
    Player(plan.clients[int(argv[1])], Journal(Path(argv[2])), connect).play()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
