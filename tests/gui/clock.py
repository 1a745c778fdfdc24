"""How long Blender waits for each callback of the extension, seen from outside by sys.monitoring (Python 3.12 on).

A callback is any function of the extension that something else than the extension calls on the main thread: a panel's
draw, an operator, a timer, a handler, a property's update. Of its time that is left out in which the machine gave the
processor to others, and that spent in what may be slow: capture, first frame and the writing of files.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import defaultdict
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

MAY_BE_SLOW = {
    "capture/geometry.py": ("capture",),
    "capture/still.py": ("",),
    "capture/first_frame.py": ("first_frame",),
    "capture/export.py": ("",),
    "shared/take.py": ("Take.",),
    "blender_addon/images.py": ("BlenderImages.",),
}
IMPORTING = ("<module>", "register", "unregister")  # when the extension is enabled or disabled
LONG = 0.02  # seconds
EVENTS, TOOL = sys.monitoring.events, sys.monitoring.PROFILER_ID


class Call(NamedTuple):
    """One call by Blender: the function, the milliseconds that count, and what took long inside of it."""

    name: str
    milliseconds: float
    inside: tuple[str, ...]


class Clock:
    """Clocks what lies under ``folder``, a part of the extension's path."""

    def __init__(self, folder: str):
        self.calls: list[Call] = []
        self.pausing = False
        self._folder = folder
        self._thread = threading.get_ident()
        self._outer: FrameType | None = None
        self._waited = self._allowed = 0.0
        self._running: list[tuple[FrameType, float]] = []
        self._slow: list[FrameType] = []
        self._long: list[str] = []

    def start(self) -> None:
        sys.monitoring.use_tool_id(TOOL, "clock")
        callbacks = {
            EVENTS.PY_START: self._starts, EVENTS.PY_RESUME: self._starts, EVENTS.PY_THROW: self._thrown_into,
            EVENTS.PY_RETURN: self._ends, EVENTS.PY_YIELD: self._ends, EVENTS.PY_UNWIND: self._unwinds,
        }  # fmt: skip
        for event, callback in callbacks.items():
            sys.monitoring.register_callback(TOOL, event, callback)
        sys.monitoring.set_events(TOOL, sum(callbacks))

    # DISABLE: no more of this event from this place. Two of the events do not have it.

    def _starts(self, code: CodeType, offset: int):
        return self._begin(code, sys._getframe(1)) if self._folder in code.co_filename else sys.monitoring.DISABLE

    def _ends(self, code: CodeType, offset: int, value: object):
        return self._end(code, sys._getframe(1)) if self._folder in code.co_filename else sys.monitoring.DISABLE

    def _thrown_into(self, code: CodeType, offset: int, error: BaseException):
        if self._folder in code.co_filename:
            self._begin(code, sys._getframe(1))

    def _unwinds(self, code: CodeType, offset: int, error: BaseException):
        if self._folder in code.co_filename:
            self._end(code, sys._getframe(1))

    def _begin(self, code: CodeType, frame: FrameType) -> None:
        if self.pausing or threading.get_ident() != self._thread:
            return
        if self._outer is None:
            self._outer, self._running, self._slow, self._long, self._allowed = frame, [], [], [], 0.0
            self._waited = waited()
        if may_be_slow(code):
            self._slow.append(frame)
        self._running.append((frame, time.perf_counter()))

    def _end(self, code: CodeType, frame: FrameType) -> None:
        if not self._running or self._running[-1][0] is not frame:
            return
        seconds = time.perf_counter() - self._running.pop()[1]
        if seconds > LONG:
            self._long.append(f"{1000 * seconds:.0f} ms {name_of(code)}")
        if self._slow and self._slow[-1] is frame:
            self._slow.pop()
            self._allowed += 0 if self._slow else seconds
        if frame is self._outer:
            self._outer = None
            own = max(0.0, seconds - self._allowed - (waited() - self._waited))
            self.calls.append(Call(name_of(code), 1000 * own, tuple(self._long)))

    def summary(self) -> dict[str, dict]:
        """Calls, 95th percentile and worst, in milliseconds, of each callback; "" stands for all together."""
        groups = defaultdict(list)
        for call in self.calls:
            if call.name.rpartition(".")[2] not in IMPORTING:
                for name in ("", call.name):
                    groups[name].append(call)
        return {name: summary_of(calls) for name, calls in groups.items()}


def summary_of(calls: list[Call]) -> dict:
    """What there is to know of some calls."""
    calls = sorted(calls, key=lambda call: call.milliseconds)
    worst, at_95 = calls[-1], calls[min(len(calls) - 1, int(0.95 * len(calls)))]
    return {"calls": len(calls), "p95": at_95.milliseconds, "worst": worst.milliseconds, "inside": worst.inside}


def name_of(code: CodeType) -> str:
    """Module and function."""
    return f"{Path(code.co_filename).stem}.{code.co_qualname}"


def may_be_slow(code: CodeType) -> bool:
    """Is this one of the functions that show progress and may take their time?"""
    for file, names in MAY_BE_SLOW.items():
        if code.co_filename.endswith(file):
            return code.co_qualname.startswith(names)
    return False


def waited() -> float:
    """Seconds for which this thread could have run and the machine had others to serve."""
    with open("/proc/thread-self/schedstat", encoding="ascii") as file:
        return int(file.read().split()[1]) / 1e9
