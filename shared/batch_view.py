"""What a running batch shows: a live table on a terminal that has rich, lines elsewhere, JSON for programs."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, Protocol

from .batch_estimate import duration
from .batch_plan import CaptureWork, Plan, TakeWork, Work
from .report import JsonReporter, Reporter

SECONDS_BETWEEN_DRAWINGS = 0.5
SECONDS_BETWEEN_EVENTS = 1.0
SECONDS_BETWEEN_LINES = 60.0  # where they stay: a log of the night
MOST_ROWS, OTHER_LINES = 30, 8


class View(AbstractContextManager, Protocol):
    """Shown as long as it is entered."""

    def changed(self, work: Work) -> None:
        """A state has changed."""

    def tick(self) -> None:
        """Time has passed."""


def choose_view(reporter: Reporter, plan: Plan, left: Callable[[], float | None]) -> View:
    """The best that this reporter and this Python can show. ``left`` gives the seconds to the end, None where unknown."""
    if isinstance(reporter, JsonReporter) or not reporter.terminal or importlib.util.find_spec("rich") is None:
        return Lines(reporter, plan, left)
    return Table(reporter, plan, left)


class Lines:
    """A line for each change and a progress now and then; for programs each as an event."""

    def __init__(self, reporter: Reporter, plan: Plan, left: Callable[[], float | None]):
        self._reporter, self._plan, self._left = reporter, plan, left
        self._told = time.monotonic()
        lasting = not reporter.terminal and not isinstance(reporter, JsonReporter)
        self._pause = SECONDS_BETWEEN_LINES if lasting else SECONDS_BETWEEN_EVENTS

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *error) -> None:
        pass

    def changed(self, work: Work) -> None:
        made = work.made
        kind = "capture" if isinstance(work, CaptureWork) else "take"
        failure = {"message": made.failure.message, "fix": made.failure.fix} if made.failure else None
        self._reporter.event(kind, folder=work.name, state=made.state, seconds=made.seconds, exit_code=made.exit_code, failure=failure)
        if not isinstance(self._reporter, JsonReporter):
            self._reporter.note(sentence(work))

    def tick(self) -> None:
        if time.monotonic() - self._told < self._pause:
            return
        self._told = time.monotonic()
        done, total = count(self._plan)
        self._reporter.progress("batch", done, total, self._left())
        for work in running(self._plan):
            phase, step, of, eta = work.progress
            kind = "capture" if isinstance(work, CaptureWork) else "take"
            self._reporter.event("progress", what=kind, folder=work.name, phase=phase, step=step, total=of, eta=eta)


class Table:
    """A row a take, drawn anew twice a second."""

    def __init__(self, reporter: Reporter, plan: Plan, left: Callable[[], float | None]):
        from rich.console import Console
        from rich.live import Live

        self._plan, self._left = plan, left
        self._live = Live(console=Console(file=reporter.err), auto_refresh=False, transient=False)
        self._drawn = 0.0

    def __enter__(self) -> Table:
        self._live.start()
        return self

    def __exit__(self, *error) -> None:
        self._draw()
        self._live.stop()

    def changed(self, work: Work) -> None:
        if work.made.state == "failed":  # stays above the table
            self._live.console.print(sentence(work), markup=False, highlight=False, style="red")
        self._draw()

    def tick(self) -> None:
        if time.monotonic() - self._drawn > SECONDS_BETWEEN_DRAWINGS:
            self._draw()

    def _draw(self) -> None:
        self._drawn = time.monotonic()
        self._live.update(self._table(), refresh=True)

    def _table(self) -> Any:
        from rich.markup import escape
        from rich.table import Table as RichTable

        done, total = count(self._plan)
        left = self._left()
        title = f"{done} of {total} takes" + (f", about {duration(left)} left" if left else "")
        table = RichTable(title=title, title_justify="left", expand=False)
        for name, style in (("take", "bold"), ("capture", ""), ("generation", ""), ("time", "")):
            table.add_column(name, style=style or None, justify="right" if name == "time" else "left")
        shown = rows(self._plan, min(MOST_ROWS, max(self._live.console.height - OTHER_LINES, 1)))
        for take in shown:
            seconds = take.made.seconds or (time.time() - take.made.began if take.made.state == "running" else 0)
            state = f"[red]{escape(state_of(take))}[/red]" if take.made.state == "failed" else escape(state_of(take))
            table.add_row(escape(take.name), escape(state_of(take.capture)), state, duration(seconds) if seconds else "")
        if hidden := total - len(shown):
            table.add_row(f"and {hidden} more", "", "", "")
        return table


def rows(plan: Plan, most: int) -> list[TakeWork]:
    """The takes that a screen has room for: those around the ones that run."""
    first = next((number for number, take in enumerate(plan.takes) if not take.is_over), 0)
    start = max(0, min(first - most // 3, len(plan.takes) - most))
    return plan.takes[start : start + most]


def state_of(work: Work) -> str:
    """One or two words, or the progress."""
    if work.action == "keep":
        return "kept"
    phase, step, total, eta = work.progress
    if work.made.state == "running" and phase:
        return f"{phase} {step}/{total}" + (f", {duration(eta)}" if eta else "")
    return work.made.state


def sentence(work: Work) -> str:
    """A state as a line for people."""
    made = work.made
    name = f"{work.name} (capture)" if isinstance(work, CaptureWork) else work.name
    match made.state:
        case "done":
            return f"{name}: done in {duration(made.seconds)}."
        case "failed":
            return f"{name}: failed. {made.failure.message} {made.failure.fix}".rstrip() if made.failure else f"{name}: failed."
        case "running":
            return f"{name}: begun." if work.action == "make" else f"{name}: goes on."
        case state:
            return f"{name}: {state}."


def running(plan: Plan) -> list[Work]:
    return [work for work in (*plan.captures, *plan.takes) if work.made.state == "running"]


def count(plan: Plan) -> tuple[int, int]:
    """Takes that are over, and all."""
    return sum(take.is_over for take in plan.takes), len(plan.takes)
