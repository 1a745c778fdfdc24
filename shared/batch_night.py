"""Runs a batch's plan: starts captures and generations as places become free, and takes in what they say."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path, PurePosixPath
from queue import Empty, SimpleQueue

from .batch_plan import CaptureWork, Plan, TakeWork, Work
from .batch_state import BatchState, Folder
from .child import Child
from .errors import DasError, GenerationError
from .take import Failure, failure_of

PATIENCE = 0.2
SECONDS_TO_END = 5.0
UNKNOWN = 5  # exit code of a program that ended without one of ours


class Night:
    """One run. ``command`` is `das` as words; ``changed(work)`` is told of each state, ``tick()`` several times a second.

    :meth:`stop` lets the running ones end their writes and starts no other; without ``keep_going`` a failure starts no other
    either, and what runs goes on to its end. ``generations`` are begun at a time.
    """

    def __init__(
        self,
        plan: Plan,
        folder: Folder,
        state: BatchState,
        command: Sequence[str],
        *,
        jobs: int,
        keep_going: bool,
        blender: Sequence[str],
        changed: Callable[[Work], None],
        tick: Callable[[], None],
    ):
        self.plan, self.folder, self.state = plan, folder, state
        self.stopped = False
        self.generations = 2
        self.first_failure: Work | None = None
        self._command, self._blender = list(command), list(blender)
        self._jobs, self._keep_going = jobs, keep_going
        self._changed, self._tick = changed, tick
        self._events: SimpleQueue[tuple[Child, dict | None]] = SimpleQueue()
        self._running: dict[Child, Work] = {}

    def stop(self) -> None:
        """Ctrl-C, once. Only marks it: this may be called by a signal, in the middle of anything."""
        self.stopped = True

    def run(self) -> None:
        """To the end of all that is to be done. KeyboardInterrupt ends the running ones at once."""
        told = False
        try:
            while True:
                if self.stopped and not told:
                    told = True
                    for child in self._running:
                        child.interrupt()
                self._start_what_can()
                if not self._running:
                    return
                self._hear()
                self._tick()
        finally:
            self._end_all()

    # ---- starting

    def _start_what_can(self) -> None:
        while not self._held() and (work := self._next()):
            self._start(work)

    def _held(self) -> bool:
        return self.stopped or bool(self.first_failure and not self._keep_going)

    def _next(self) -> Work | None:
        kinds = [type(work) for work in self._running.values()]
        if kinds.count(TakeWork) < self.generations:
            ready = (take for take in self.plan.takes if take.made.state == "waiting" and take.action != "keep" and self._is_ready(take))
            if take := next(ready, None):
                return take
        if kinds.count(CaptureWork) < self._jobs:
            return next((one for one in self.plan.captures if one.action == "make" and one.made.state == "waiting"), None)
        return None

    @staticmethod
    def _is_ready(take: TakeWork) -> bool:
        return take.action == "go on" or take.capture.made.state == "done"

    def _start(self, work: Work) -> None:
        made, kind = work.made, "capture" if isinstance(work, CaptureWork) else "generate"
        made.state, made.began, made.failure, made.findings = "running", time.time(), None, []
        try:
            words = self._words(work)
            child = Child([*self._command, *words, "--json"], self.folder.log(kind, work.name), self._events)
        except (DasError, OSError) as error:
            self._fail(work, error if isinstance(error, DasError) else GenerationError(f"{error}.", "See docs/batch.md."))
            return
        made.pid = child.pid
        self._running[child] = work
        self._note(work)

    def _words(self, work: Work) -> list[str]:
        """The command that makes it, into a place that is free by then."""
        if isinstance(work, CaptureWork):
            self.folder.drop_capture(work.name)
            options = ["--check"] if work.capture.words[0] == "track" else ["--only-tracking"]
            blender = self._blender if work.capture.is_scene else []
            return [*work.capture.words, *options, *blender, "-o", str(self.folder.capture(work.name))]
        folder = self.folder.take(work.name)
        if work.action == "go on":
            return ["generate", str(folder), *work.planned.best_of_words]
        for name in (work.name, *work.planned.others):
            self.folder.set_aside(name)
        return ["generate", str(self.folder.capture(work.capture.name)), *work.planned.words, *work.planned.best_of_words, "-o", str(folder)]

    # ---- hearing

    def _hear(self) -> None:
        """All that has come, or what comes soon."""
        patience = PATIENCE
        with suppress(Empty):
            while True:
                child, event = self._events.get(timeout=patience)
                patience = 0.001
                if event is None:
                    self._ended(self._running.pop(child), child)
                else:
                    self._take_in(self._running[child], event)

    def _take_in(self, work: Work, event: dict) -> None:
        match event:
            case {"event": "progress", "phase": phase, "step": step, "total": total}:
                work.progress = (phase, step, total, event.get("eta"))
            case {"event": "finding"}:
                work.made.findings.append({key: value for key, value in event.items() if key != "event"})
            case {"event": "result", "best_of": [_, *_] as ranking, "take": best}:
                work.made.ranking, work.made.why = ranking, str(event.get("why", ""))
                work.made.best = PurePosixPath(work.name).with_name(Path(best).name).as_posix()
            case {"event": "error", "kind": kind, "message": message}:
                work.made.failure = Failure(kind=kind, message=message, fix=event.get("fix", ""))

    def _ended(self, work: Work, child: Child) -> None:
        made, code = work.made, child.code()
        made.pid, made.seconds, made.exit_code = 0, time.time() - made.began, code
        if code == 0:
            made.state, made.failure = "done", None
            self._note(work)
        elif self.stopped:
            made.state = "cancelled"
            self._note(work)
        else:
            self._fail(work, _why(work, child, code), code if 0 < code < 128 else UNKNOWN)

    def _fail(self, work: Work, error: DasError, code: int | None = None) -> None:
        made = work.made
        made.state, made.failure = "failed", made.failure or failure_of(error, error.kind)
        made.exit_code = error.exit_code if code is None else code
        self.first_failure = self.first_failure or work
        self._note(work)
        if isinstance(work, CaptureWork):
            for take in self.plan.takes:
                if take.capture is work and take.action == "make":
                    take.made.state, take.made.failure, take.made.exit_code = "failed", made.failure, made.exit_code
                    self._note(take)

    def _note(self, work: Work) -> None:
        entries = self.state.captures if isinstance(work, CaptureWork) else self.state.takes
        entries[work.name] = work.made
        self.folder.write(self.state)
        self._changed(work)

    def _end_all(self) -> None:
        """At once: what runs is ended. Nothing runs where the night came to its own end."""
        for child in self._running:
            child.terminate()
        for child, work in self._running.items():
            child.end(SECONDS_TO_END)
            work.made.state, work.made.pid = "cancelled", 0
        self._running.clear()


def _why(work: Work, child: Child, code: int) -> DasError:
    """The sentence of a program that ended without one."""
    how = f"by signal {-code}" if code < 0 else f"with code {code}"
    words = child.last_words()
    return GenerationError(f"The program ended {how}{f': {words}' if words else ''}".rstrip(".") + ".", f"See {child.log}.")
