"""Steps of the session: each is told as it ends, and all of them as JUnit for the sum over all tests."""

from __future__ import annotations

import shutil
import tempfile
import time
import traceback
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from window import Window


class Outcome(NamedTuple):
    """A step's name, its seconds, and how it failed, "" where it did not; None for one that was not reached."""

    name: str
    seconds: float
    failure: str | None


def run_steps(window: Window, steps: Sequence[Callable[[Window], None]]) -> list[Outcome]:
    """Each step in order; those after one that failed are not reached, for each begins where the one before has ended."""
    outcomes: list[Outcome] = []
    for step in steps:
        name = step.__name__.replace("_", " ")
        if outcomes and outcomes[-1].failure != "":
            outcomes.append(Outcome(name, 0.0, None))
            continue
        began = time.monotonic()
        try:
            step(window)
            failure = ""
        except Exception:
            failure = traceback.format_exc()
            keep_picture(window, f"failed {name}")
        outcomes.append(Outcome(name, time.monotonic() - began, failure))
        print(f"{'FAILED' if failure else 'passed'} {outcomes[-1].seconds:5.1f} s  {name}\n{failure}".rstrip(), flush=True)
    return outcomes


def keep_picture(window: Window, name: str) -> None:
    """A picture of a failure, and what Blender wrote where it crashed; where there is none to be had, the failure itself is told."""
    for file in Path(tempfile.gettempdir()).glob("*.crash.txt"):
        shutil.copy(file, window.kept)
    try:
        window.picture(name)
    except Exception as error:
        print(f"no picture: {error}")


def write_results(outcomes: Sequence[Outcome], file: Path) -> None:
    """JUnit. Only a step that was not reached counts as skipped."""
    failures, skipped = sum(bool(one.failure) for one in outcomes), sum(one.failure is None for one in outcomes)
    suites = ElementTree.Element("testsuites")
    counts = {"tests": len(outcomes), "failures": failures, "errors": 0, "skipped": skipped}
    suite = ElementTree.SubElement(suites, "testsuite", {name: str(count) for name, count in counts.items()}, name="window")
    for one in outcomes:
        case = ElementTree.SubElement(suite, "testcase", name=one.name, time=f"{one.seconds:.1f}")
        if one.failure:
            ElementTree.SubElement(case, "failure").text = one.failure
    ElementTree.ElementTree(suites).write(file)
