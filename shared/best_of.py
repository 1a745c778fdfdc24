"""The same shot with several seeds, scored and ranked; and the scoring of takes that are there (docs/best-of-n.md)."""

from __future__ import annotations

from contextlib import ExitStack

import msgspec

from .client import Client
from .command_backend import PATIENCE, any_backend, backend_of, tell_events
from .control_score import ControlScore
from .errors import Cancelled, GenerationError, UsageError
from .generation import generate
from .interrupt import cancelled_by_signal
from .ranking import ranked_with_star, tell_ranking
from .report import Reporter
from .resuming import begun_take
from .scoring import score_take
from .take import Take
from .take_copy import copy_take
from .task_settings import Repaint

MOST_SEEDS = 64


def check_best_of(count: int | None) -> None:
    """UsageError for a count of seeds that cannot be."""
    if count is not None and not 1 <= count <= MOST_SEEDS:
        raise UsageError(f"The best of {count} is not possible.", f"Give --best-of a number from 1 to {MOST_SEEDS}.")


def generate_best(first: Take, count: int, reporter: Reporter) -> int:
    """Make a prepared take's video with its seed and the ``count`` - 1 next ones, each in a take beside it, rank them and tell;
    the exit code.

    What an earlier run has made stays. A seed that fails is told, and the others are made; GenerationError where all fail.
    """
    stopped: list[bool] = []
    takes = [first, *(_of_seed(first, first.record.request.seed + step) for step in range(1, count))]
    if first.record.request.engine == "projection" and count > 1:
        reporter.note("The engine projection makes the same video with every seed.")
    with cancelled_by_signal(lambda: stopped.append(True)), ExitStack() as opened:
        peer = None
        for number, take in enumerate(takes, start=1):
            reporter.note(f"Seed {take.record.request.seed}, {number} of {count}: {take.folder}")
            if peer is None or peer.is_gone():
                peer = opened.enter_context(backend_of(take, stopped))
            _make(take, peer, stopped, reporter)
    if all(take.record.state == "failed" for take in takes):
        failure = first.record.failure
        raise GenerationError(f"All of {count} seeds failed. {failure.message}", failure.fix)
    tell_ranking(ranked_with_star(takes), reporter)
    return 0


def _of_seed(first: Take, seed: int) -> Take:
    """The take beside another with a seed of its own; as an earlier run has begun it, where that was."""
    request = msgspec.structs.replace(first.record.request, seed=seed, write=(), repaint=Repaint())
    folder = first.folder.with_name(f"{first.folder.name}-seed-{seed}")
    return begun_take(folder, request, first.images) or copy_take(first, folder, request)


def _make(take: Take, peer: Client, stopped: list[bool], reporter: Reporter) -> None:
    """The take's video and its score, as far as they are missing."""
    cancel = {"patience": PATIENCE, "cancelled": lambda: bool(stopped)}
    if stopped:
        raise Cancelled("Cancelled.")
    try:
        if take.record.state != "done" or take.missing_frames():
            tell_events(generate(take, peer, **cancel), take, reporter)
            reporter.saved(take.video)
            take.record.score = None
    except GenerationError as error:
        reporter.note(f"{take.folder.name} failed. {error}")
        return
    if take.record.score is None:
        _score(take, peer, stopped, reporter)


def _score(take: Take, peer: Client, stopped: list[bool], reporter: Reporter) -> None:
    """A score that could not be made does not undo what was generated."""
    try:
        tell_events(score_take(take, peer, patience=PATIENCE, cancelled=lambda: bool(stopped)), take, reporter)
    except GenerationError as error:
        take.record.score = ControlScore(why_not=error.message)
        take.save()


def score_takes(takes: list[Take], reporter: Reporter) -> None:
    """Score finished takes anew. UsageError where one lacks frames, before the first is scored."""
    for take in takes:
        if missing := take.missing_frames():
            raise UsageError(f"{take.folder} lacks {len(missing)} of its frames.", f"Make them first: das generate {take.folder}")
    stopped: list[bool] = []
    with cancelled_by_signal(lambda: stopped.append(True)):
        reporter.progress("backend", 0, 1)
        with any_backend(stopped) as peer:
            for take in takes:
                _score(take, peer, stopped, reporter)
