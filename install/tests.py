"""Run pytest in every environment, each with a DAS_HOME of its own, and sum up."""

from __future__ import annotations

import math
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .environments import MODEL, Made
from .home import register
from .steps import LOOK_EVERY, clean_environment, say, stop


SECONDS_TO_END = 120.0


class Counts(NamedTuple):
    """Outcomes of one or more test runs."""

    passed: int = 0
    failed: int = 0
    skipped: int = 0

    def plus(self, other: Counts) -> Counts:
        return Counts(*(mine + theirs for mine, theirs in zip(self, other)))

    def __str__(self) -> str:
        return f"{self.passed} passed, {self.failed} failed, {self.skipped} skipped"


class Run:
    """Tests at work in a process of their own, its output in a file. ``stop`` it in any case; asked to end, it has so many
    seconds of ``patience``. It is stopped after ``seconds``, which counts as a failure."""

    def __init__(
        self, name: str, folder: Path, command: Sequence, environment: dict[str, str], cwd: Path,
        patience: float = 30, seconds: float = math.inf,
    ):  # fmt: skip
        self.name = name
        self.patience = patience
        self.seconds = seconds
        self.cwd = cwd
        self.began = time.monotonic()
        self.output = folder / "output.txt"
        self.results = folder / "results.xml"
        with open(self.output, "wb") as file:
            self.child = subprocess.Popen(
                [str(word) for word in command], cwd=cwd, env=environment,
                stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def follow(self) -> None:
        """Print the output as it comes, until the run has ended. One that hangs after its results is stopped."""
        with open(self.output, encoding="utf-8", errors="replace") as file:
            ended, finished = False, None
            while not ended:
                ended = self.child.poll() is not None
                print(file.read(), end="", flush=True)
                time.sleep(0 if ended else LOOK_EVERY)
                if finished is None and self.results.exists():
                    finished = time.monotonic()
                if not ended and finished is not None and time.monotonic() - finished > SECONDS_TO_END:
                    say(f"{self.name}: the run has written its results and does not end")
                    self.stop()
                if not ended and time.monotonic() - self.began > self.seconds:
                    say(self.too_long())
                    self.stop()

    def too_long(self) -> str:
        """What is said of a run that is stopped because it has not ended in time."""
        return f"{self.name}: the run did not end within {self.seconds / 60:.0f} minutes and is stopped"

    def stop(self) -> None:
        """End what may still run."""
        stop(self.child, self.patience)

    def counts(self) -> Counts:
        """What came out; a run that left no results, or failed outside of any test, counts as one failure."""
        counts = read_counts(self.results)
        odd = self.child.returncode not in (0, 5) and not counts.failed
        if odd:
            say(f"{self.name}: the run ended with code {self.child.returncode}")
        return counts.plus(Counts(failed=1)) if odd else counts


class Start(NamedTuple):
    """A run to be: its name, and what starts it in an empty folder."""

    name: str
    run: Callable[[Path], Run]


def pytest_run(one: Made, root: Path, made: Sequence[Made], arguments: Sequence[str], folder: Path) -> Run:
    """Start pytest in one environment."""
    register([each.entry() for each in made], folder / "home")
    command = [
        one.python, "-m", "pytest", "-rfEs", "--durations=10", f"--color={'yes' if sys.stdout.isatty() else 'no'}",
        f"--basetemp={folder / 'temp'}", f"--junitxml={folder / 'results.xml'}", *arguments,
    ]  # fmt: skip
    environment = {**clean_environment(), "DAS_TEST_ROOM": room_to_test(one), "DAS_HOME": str(folder / "home")}
    return Run(one.name, folder, command, environment, root)


def room_to_test(one: Made) -> str:
    """Which tests an environment runs: the model's has tests of its own, and is of the backend's room otherwise."""
    return MODEL.name if one.name == MODEL.name else one.room


def read_counts(results: Path) -> Counts:
    """Counts of a JUnit file; none at all if the run died before it could write one."""
    try:
        suite = ElementTree.parse(results).getroot().find("testsuite")
    except (FileNotFoundError, ElementTree.ParseError):
        return Counts()
    tests, failures, errors, skipped = (int(suite.get(key)) for key in ("tests", "failures", "errors", "skipped"))
    return Counts(tests - failures - errors - skipped, failures + errors, skipped)


def run_tests(root: Path, made: Sequence[Made], arguments: Sequence[str], jobs: int, others: Sequence[Start] = ()) -> int:
    """Test each environment, and what else there is, ``jobs`` at a time; 1 if anything failed.

    Each run's output is printed whole and in order.
    """
    start = time.monotonic()
    starts = [*(Start(one.name, partial(pytest_run, one, root, made, arguments)) for one in made), *others]
    waiting, running, total = list(starts), [], Counts()
    with tempfile.TemporaryDirectory(prefix="das-test-", ignore_cleanup_errors=True) as temporary:
        try:
            while waiting or running:
                while waiting and len(running) < max(jobs, 1):
                    one = waiting.pop(0)
                    folder = Path(temporary) / one.name
                    folder.mkdir()
                    running.append(one.run(folder))
                say(f"\n=== {running[0].name}")
                running[0].follow()
                total = total.plus(running.pop(0).counts())
        finally:
            for run in running:
                run.stop()
    minutes, seconds = divmod(round(time.monotonic() - start), 60)
    say(f"\n{len(starts)} environments tested in {minutes} min {seconds} s")
    say(str(total))
    return 1 if total.failed or not total.passed else 0


def run_soak(root: Path, one: Made, arguments: Sequence[str]) -> int:
    """tests/soak in one environment, its output straight to the terminal; its exit code. Each of its parts has a bound of its own."""
    command = [str(one.python), "-m", "soak", *arguments]
    child = subprocess.Popen(command, cwd=root / "tests", env=clean_environment(), stdin=subprocess.DEVNULL)
    try:
        return child.wait()
    finally:
        stop(child)
