"""How long Blender waits for each callback of the extension, seen from outside by sys.monitoring (Python 3.12 on).

A callback is any function of the extension that something else than the extension calls on the main thread: a panel's
draw, an operator, a timer, a handler, a property's update. Left out is what may be slow: capture, first frame and the
writing of files. Two clocks run: the thread's processor time, which other programs at work on the machine do not lengthen, and
the wall's, less the time in which this thread could have run and the machine served others.
"""

from __future__ import annotations

import sys
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from types import CodeType, FrameType
from typing import NamedTuple

MAY_BE_SLOW = {
    "capture/geometry.py": ("capturing",),
    "capture/still.py": ("",),
    "capture/first_frame.py": ("rendering_first_frame",),
    "capture/export.py": ("",),
    "shared/take.py": ("Take.",),
    "blender_addon/images.py": ("BlenderImages.", "_writing"),
}
IMPORTING = ("<module>", "register", "unregister")  # when the extension is enabled or disabled
OPERATING = ("execute", "invoke", "reporting")  # an operator's functions, and what stands around them
LONG = 0.02  # seconds
EVENTS, TOOL = sys.monitoring.events, sys.monitoring.PROFILER_ID


class Times(NamedTuple):
    """Seconds by both clocks, and those spent waiting for the processor."""

    wall: float
    computing: float
    queued: float

    def since(self, start: Times) -> Times:
        return Times(*(now - then for now, then in zip(self, start)))


class Call(NamedTuple):
    """One call by Blender: the function, milliseconds that it computed, milliseconds that it took in all but for waiting for the
    processor, and what took long inside of it."""

    name: str
    computing: float
    milliseconds: float
    inside: tuple[str, ...]


class Clock:
    """Clocks what lies under ``folder``, a part of the extension's path."""

    def __init__(self, folder: str):
        self.calls: list[Call] = []
        self.executed: Counter[str] = Counter()  # how often each operator was, by its name in Python
        self.pausing = False
        self._folder = folder
        self._thread = threading.get_ident()
        self._outer: FrameType | None = None
        self._allowed = NO_TIME
        self._running: list[tuple[FrameType, Times]] = []
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
            self._outer, self._running, self._slow, self._long, self._allowed = frame, [], [], [], NO_TIME
        if may_be_slow(code):
            self._slow.append(frame)
        outermost = frame is self._outer or self._slow[-1:] == [frame]
        self._running.append((frame, times() if outermost else Times(time.perf_counter(), 0, 0)))

    def _end(self, code: CodeType, frame: FrameType) -> None:
        if not self._running or self._running[-1][0] is not frame:
            return
        _, began = self._running.pop()
        seconds = time.perf_counter() - began.wall
        if seconds > LONG:
            self._long.append(f"{1000 * seconds:.0f} ms {name_of(code)}")
        if self._slow and self._slow[-1] is frame:
            self._slow.pop()
            if not self._slow:
                self._allowed = Times(*(one + more for one, more in zip(self._allowed, times().since(began))))
        if frame is self._outer:
            self._outer = None
            self._note(code, frame, times().since(began).since(self._allowed))

    def _note(self, code: CodeType, frame: FrameType, own: Times) -> None:
        computing, whole = max(0.0, 1000 * own.computing), max(0.0, 1000 * (own.wall - own.queued))
        self.calls.append(Call(name_of(code), min(computing, whole), whole, tuple(self._long)))
        if code.co_name in OPERATING and (name := getattr(frame.f_locals.get("self"), "bl_idname", "")):
            self.executed[name] += 1

    def summary(self) -> dict[str, dict]:
        """Calls, 95th percentile and worst, in milliseconds, of each callback; "" stands for all together."""
        groups = defaultdict(list)
        for call in self.calls:
            if call.name.rpartition(".")[2] not in IMPORTING:
                for name in ("", call.name):
                    groups[name].append(call)
        return {name: summary_of(calls) for name, calls in groups.items()}


def summary_of(calls: list[Call]) -> dict:
    """What there is to know of some calls, in milliseconds: computing, and ``longest`` by the wall."""
    calls = sorted(calls, key=lambda call: call.computing)
    worst, at_95 = calls[-1], calls[min(len(calls) - 1, int(0.95 * len(calls)))]
    longest = max(calls, key=lambda call: call.milliseconds)
    return {
        "calls": len(calls), "p95": at_95.computing, "worst": worst.computing, "longest": longest.milliseconds,
        "inside": worst.inside if worst.computing > longest.milliseconds / 2 else longest.inside,
    }  # fmt: skip


def name_of(code: CodeType) -> str:
    """Module and function."""
    return f"{Path(code.co_filename).stem}.{code.co_qualname}"


def may_be_slow(code: CodeType) -> bool:
    """Is this one of the functions that show progress and may take their time?"""
    for file, names in MAY_BE_SLOW.items():
        if code.co_filename.endswith(file):
            return code.co_qualname.startswith(names)
    return False


def times() -> Times:
    """Of this thread, now."""
    with open("/proc/thread-self/schedstat", encoding="ascii") as file:
        queued = int(file.read().split()[1]) / 1e9
    return Times(time.perf_counter(), time.thread_time(), queued)


NO_TIME = Times(0.0, 0.0, 0.0)
