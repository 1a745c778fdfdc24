"""Malformed, truncated, oversized, mistyped and replayed messages, from clients with the key and from strangers without."""

from __future__ import annotations

import json
import os
import random
import statistics
import subprocess
import sys
import time
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import zmq
from hypothesis import HealthCheck, Phase, given, seed, settings

from diffusion_as_shader.shared import messages, wire

from . import steps
from .backend import Backend, environment
from .malformed import Frames, of_schema, spoilt, stops
from .options import Options, hold
from .processes import memory
from .strangers import Strangers

CLIENTS = 6
GREETING_EVERY = 25  # messages: a spoilt one may have ended the session
STRANGER_EVERY = 40
FLOOD_SHARE = 0.1  # of the messages are sent as fast as they go, above what clients may
SAMPLES = 10  # of memory, evenly
WARM_SAMPLES = 3  # until threads, caches and queues have had their size once
MOST_GROWTH = 0.05
SERVED_WITHIN = 0.050  # seconds
UNDISTURBED = 0.001  # seconds at most for which client or server waited for a core, in an answer that shows what the server does
FEWEST = 100  # such answers
SECONDS_ALONE = 5.0
SECONDS = 60.0


class Answer(NamedTuple):
    """Seconds until a good client was answered, and those of them for which it, or the server, waited for a core."""

    took: float
    queued: float


class Figures:
    """What a run has measured."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()
        self.answers: Counter[str] = Counter()
        self.memory: list[int] = []
        self.alone: list[Answer] = []  # before the others came
        self.beside: list[Answer] = []
        self.steps: list[steps.Step] = []  # the longer ones of the server's loop
        self.stranger_answers: list[bytes] = []
        self.seconds = 0.0
        self.log = ""

    @property
    def growth(self) -> float:
        """From the end of the warm part to the highest after it, as a share."""
        return max(self.memory[WARM_SAMPLES:]) / self.memory[WARM_SAMPLES - 1] - 1 if self.memory else 0.0

    @property
    def p99(self) -> float:
        return _quantile([answer.took for answer in self.beside], 0.99)

    @property
    def delay(self) -> float:
        """Seconds (p99) that the others cost a good client."""
        return self.p99 - _quantile([answer.took for answer in self.alone], 0.99)

    @property
    def undisturbed(self) -> list[Answer]:
        return [answer for answer in self.beside if answer.queued < UNDISTURBED]

    @property
    def longest_undisturbed(self) -> float:
        return max((answer.took for answer in self.undisturbed), default=0.0)

    @property
    def longest_step(self) -> float:
        """Seconds, of those in which no thread of the server waited for a core."""
        return max((step.own for step in self.steps if step.queued < UNDISTURBED), default=0.0)

    def lines(self) -> list[str]:
        sent = ", ".join(f"{count} {kind}" for kind, count in sorted(self.sent.items()))
        answers = ", ".join(f"{count} {kind}" for kind, count in self.answers.most_common())
        own = [step for step in self.steps if step.queued < UNDISTURBED]
        long = ", ".join(f"{step.own * 1e3:.0f} ms in {step.whose}" for step in own[:3]) or "none"
        return [
            f"{sum(self.sent.values())} messages in {self.seconds:.0f} s: {sent}",
            f"answered: {answers}; strangers: {len(self.stranger_answers)} answers",
            f"memory of the server in MB, in even parts: {' '.join(f'{held / 1e6:.1f}' for held in self.memory) or 'not measured here'}"
            f" ({self.growth:+.1%} after part {WARM_SAMPLES})",
            f"a good client alone: {_times(self.alone)}",
            f"a good client beside them: {_times(self.beside)}",
            f"... of these where nobody waited for a core: {_times(self.undisturbed)}",
            f"... the longest, less what was waited for a core: {', '.join(map(_told, sorted(self.beside)[:-4:-1]))}",
            f"steps of the server's loop above {steps.NOTED_SECONDS * 1e3:.0f} ms of their own: {len(own)}: {long}; "
            f"{len(self.steps) - len(own)} in which another of its threads waited for a core",
        ]


def _quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _told(answer: Answer) -> str:
    return f"{answer.took * 1e3:.0f} - {answer.queued * 1e3:.0f} ms"


def _times(answers: list[Answer]) -> str:
    times = [answer.took * 1e3 for answer in answers]
    if not times:
        return "none"
    return (
        f"{len(times)} questions, median {statistics.median(times):.1f} ms, p99 {_quantile(times, 0.99):.1f} ms, "
        f"p99.9 {_quantile(times, 0.999):.1f} ms, longest {max(times):.1f} ms"
    )


def run(options: Options, folder: Path) -> list[str]:
    """The soak: ``options.messages`` of them."""
    with Backend(folder, **steps.variables()) as backend:
        figures = fuzz(backend, options.messages, options.seed)
    growing = (figures.growth <= MOST_GROWTH, f"The server's memory grew: {figures.lines()[2]}.")
    hold([*promises(figures), growing, *served(figures)])
    return figures.lines()


def served(figures: Figures) -> list[tuple[bool, str]]:
    """A good client is answered in time, as far as it depends on the server and not on who else has the cores."""
    if not steps.can_tell():
        return [(figures.delay <= SERVED_WITHIN, f"A good client waited {figures.delay * 1e3:.0f} ms more than alone (p99).")]
    bound, lines = f"{SERVED_WITHIN * 1e3:.0f} ms", figures.lines()
    return [
        (len(figures.undisturbed) >= FEWEST, f"This machine is too busy to tell whether a good client is served: {lines[5]}."),
        (figures.longest_undisturbed <= SERVED_WITHIN, f"A good client was not served within {bound}: {lines[5]}."),
        (figures.longest_step <= SERVED_WITHIN, f"A step of the server's loop took more than {bound}: {lines[7]}."),
    ]


def promises(figures: Figures) -> list[tuple[bool, str]]:
    """What must hold on the slowest machine."""
    return [
        ("Traceback" not in figures.log, f"The log holds a defect: {figures.log[figures.log.find('Traceback'):][:3000]}"),
        (not figures.answers["refused internal"], "A message met a defect."),
        (not figures.stranger_answers, f"A stranger was answered: {figures.stranger_answers[:1]}"),
    ]


def fuzz(backend: Backend, count: int, number: int) -> Figures:
    """Send ``count`` messages and measure; the backend must live."""
    with Attack(backend, count, random.Random(number)) as attack:
        attack.flood(int(count * FLOOD_SHARE))
        drive(int(count * (1 - FLOOD_SHARE)), number, attack.step)
        attack.settle()
    return attack.figures


def drive(count: int, number: int, step: Callable[[str, Frames], None]) -> None:
    """One message in four is made by hypothesis from the schema, the others are right ones, or such, spoilt."""
    recent: deque[Frames] = deque(maxlen=50)
    bad = spoilt(random.Random(number), recent)

    @seed(number)
    @settings(max_examples=count // 4, database=None, deadline=None, phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(of_schema())
    def each(frames: Frames) -> None:
        if not stops(frames):
            recent.append(frames)
            step("of the schema", frames)
        for _ in range(3):
            step(*next(bad))

    each()


class Attack:
    """Clients with the key and strangers without, a good client beside them, and what is measured of it all."""

    def __init__(self, backend: Backend, count: int, dice: random.Random):
        self.figures = Figures()
        self._backend = backend
        self._sample_every = max(1, int(count * (1 - FLOOD_SHARE)) // (SAMPLES - 1))
        self._times = backend.folder / "times.json"
        self._witness = subprocess.Popen(
            [sys.executable, "-m", "soak.witness", str(self._times)],
            env=environment(backend.folder), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        self._witness.stdout.readline()
        self._cores = leave_a_core()
        self._strangers = Strangers(backend.connection, dice)
        self._attackers = [Attacker(backend.connection, self.figures.answers) for _ in range(CLIENTS)]
        time.sleep(SECONDS_ALONE)
        self._began = time.monotonic()

    def step(self, kind: str, frames: Frames) -> None:
        sent = sum(self.figures.sent.values())
        if sent % self._sample_every == 0 and sent:
            self.settle()
        self.figures.sent[kind] += 1
        self._attackers[sent % CLIENTS].say(frames)
        if sent % STRANGER_EVERY == 0:
            self._strangers.knock(frames)

    def flood(self, count: int) -> None:
        """As fast as it goes: it comes first, as what waits then is the most that a system's allocator keeps at hand."""
        bad = spoilt(random.Random(count))
        for _, (_, frames) in zip(range(count), bad):
            self.figures.sent["flood"] += 1
            self._attackers[self.figures.sent["flood"] % CLIENTS].say(frames)

    def settle(self) -> None:
        """All that was sent is dealt with; what memory the server then has."""
        for attacker in self._attackers:
            attacker.settle()
        assert self._backend.process.poll() is None, self._backend.output()[-3000:]
        if held := memory(self._backend.process.pid):
            self.figures.memory.append(held)

    def __enter__(self) -> Attack:
        return self

    def __exit__(self, *error) -> None:
        figures = self.figures
        self._witness.communicate(timeout=SECONDS)
        for attacker in self._attackers:
            attacker.close()
        self._strangers.close()
        run_on(self._cores)
        figures.seconds = time.monotonic() - self._began
        for at, *answer in json.loads(self._times.read_text()) if self._times.exists() else []:
            (figures.beside if at > self._began else figures.alone).append(Answer(*answer))
        figures.steps = steps.noted(self._backend.folder, self._began)
        figures.sent["by strangers"] = self._strangers.knocks
        figures.stranger_answers, figures.log = self._strangers.answers, self._backend.output()


def leave_a_core() -> set[int]:
    """Keep this thread, and those that it starts, off one core, so that who attacks does not take the time of who is attacked; the cores before."""
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set()
    run_on(set(sorted(cores)[1:]) or cores)
    return cores


def run_on(cores: set[int]) -> None:
    if cores:
        os.sched_setaffinity(0, cores)


class Attacker:
    """A DEALER with the key. What it is answered is counted by kind, and must be of the schema."""

    def __init__(self, connection: wire.ConnectionFile, answers: Counter[str]):
        self._answers, self._said, self._settled = answers, 0, 0
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.DEALER)
        wire.join_curve(self._socket, connection.server_public, connection.client_public, connection.client_secret)
        self._socket.connect(connection.address)

    def say(self, frames: Frames) -> None:
        """Send, and take in what has come; a hello now and then begins a session that a former message has ended."""
        if self._said % GREETING_EVERY == 0:
            self._socket.send_multipart(wire.encode(messages.Hello(protocol=messages.PROTOCOL_VERSION, name="fuzz")))
        self._said += 1
        self._socket.send_multipart(frames)
        self._hear()

    def settle(self) -> None:
        """Wait until the server has dealt with all that was said: it answers in the order in which it was asked."""
        self._settled += 1
        number, end = 1 << 40 | self._settled, time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < end, f"the backend does not answer any more: {self._answers}"
            for message in (messages.Hello(protocol=messages.PROTOCOL_VERSION), messages.Heartbeat(number=number)):
                self._socket.send_multipart(wire.encode(message))
            patience = time.monotonic() + 2  # it may have spoken too fast to be answered
            while time.monotonic() < patience:
                self._socket.poll(100)
                if number in self._hear():
                    return

    def close(self) -> None:
        self._socket.close(0)
        self._context.term()

    def _hear(self) -> list[int]:
        """Take in all answers; the numbers of heartbeats among them."""
        numbers = []
        while self._socket.poll(0):
            answer = wire.decode(self._socket.recv_multipart(copy=False), messages.ToClient)
            kind = answer.__struct_config__.tag
            self._answers[f"refused {answer.kind}" if isinstance(answer, messages.Refused) else kind] += 1
            if isinstance(answer, messages.Heartbeat):
                numbers.append(answer.number)
        return numbers
