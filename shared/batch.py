"""`das batch SHOTS -o OUT`: a night of shots. One Blender process a capture, and while one take is generated the next shot is captured.

Each take is two commands, as a user would type them: ``das track SCENE -o OUT/captures/NAME`` and
``das generate OUT/captures/NAME -o OUT/NAME``. Takes that differ in words and seeds alone share a capture.
"""

from __future__ import annotations

import argparse
import os
import shlex
import time
from collections.abc import Sequence
from pathlib import Path

from . import batch_estimate, batch_page, batch_state, cli, shots
from .batch_estimate import MemoryOf, Past, duration
from .batch_lease import Lease
from .batch_night import Night
from .batch_plan import Plan, TakeWork, Work, make_plan
from .batch_state import BatchState, Folder
from .batch_view import choose_view
from .errors import DONE, Cancelled, UsageError
from .interrupt import cancelled_by_signal
from .processes import pid_alive
from .report import Reporter
from .shot_fields import BadShots
from .shots import PlannedTake
from .take import Images

SECONDS_FOR_OLD_ONES = 20.0
SECONDS_BETWEEN_LOOKS = 0.1


def run(args: argparse.Namespace, reporter: Reporter, images: Images, command: Sequence[str], memory_of: MemoryOf) -> int:
    """The whole batch; the exit code. ``command`` is `das` for a process of its own, ``memory_of`` what a request is expected to need."""
    try:
        if args.jobs < 1:
            raise UsageError(f"--jobs {args.jobs} is not possible.", "Give how many captures may run at a time, from 1 on.")
        takes = shots.read_shots(args.file)
        output = args.output or args.file.resolve().parent / "das" / args.file.stem
        if args.dry_run:
            return _dry_run(args, reporter, takes, output, memory_of)
        folder, before = batch_state.open_folder(output, args.resume)
        return _Batch(args, reporter, images, command, takes, folder, before).run()
    except BadShots as bad:
        for error in bad.errors[:-1]:
            reporter.error(error)
        raise bad.errors[-1] from None


def _dry_run(args: argparse.Namespace, reporter: Reporter, takes: Sequence[PlannedTake], output: Path, memory_of: MemoryOf) -> int:
    """What would run, with time and memory expected."""
    folder = Folder(output)
    plan = make_plan(takes, folder, folder.read() if args.resume else None)
    past = batch_estimate.past_of(batch_estimate.folders_of(plan, args.file, output))
    captures, generations = [], []
    for take in plan.takes:
        request, begins = take.planned.request, take.capture.action == "make" and take.capture.name == take.name
        drawing = past.capture(take.capture, request) if begins else 0.0
        making = past.generation(request) if take.action != "keep" else 0.0
        captures += [drawing] * begins
        generations += [making] * (take.action != "keep")
        memory = memory_of(request) if take.action != "keep" else ""
        capture = f"capture {duration(drawing)}" if begins else "captured" if take.capture.action == "keep" else f"capture of {take.capture.name}"
        text = f"{take.name}: kept" if take.action == "keep" else f"{take.name}: {take.action}, {capture}, generation {duration(making)}, memory {memory}"
        reporter.note(text)
        reporter.event(
            "planned", folder=take.name, action=take.action, line=take.planned.line, capture=take.capture.name,
            capture_seconds=drawing if begins else 0, generation_seconds=making, memory=memory,
            commands=[["das", *take.capture.capture.words], ["das", "generate", *take.planned.words]],
        )  # fmt: skip
    whole = batch_estimate.seconds_of_night(captures, generations, args.jobs)
    reporter.result(
        f"{len(generations)} of {len(plan.takes)} takes would be made, with {len(captures)} captures; expected time: {duration(whole)}.",
        takes=len(plan.takes), to_make=len(generations), captures=len(captures), seconds=whole,
    )  # fmt: skip
    return DONE


class _Batch:
    """One run: the folder, the lease, the night and its page."""

    def __init__(
        self,
        args: argparse.Namespace,
        reporter: Reporter,
        images: Images,
        command: Sequence[str],
        takes: Sequence[PlannedTake],
        folder: Folder,
        before: BatchState | None,
    ):
        self.args, self.reporter, self.folder = args, reporter, folder
        self._wait_for_old_ones(before)
        self.plan = make_plan(takes, folder, before)
        _check_blender(args, self.plan)
        self.state = before or BatchState(file="", began=0.0)
        self.state.file, self.state.began, self.state.pid = str(args.file.resolve()), time.time(), os.getpid()
        self.page = batch_page.Page(folder, self.plan, self.state, images)
        self.past: Past = batch_estimate.past_of(batch_estimate.folders_of(self.plan, args.file, folder.path))
        self.takes = takes
        self.lease: Lease | None = None
        self.night = Night(
            self.plan, folder, self.state, command, jobs=args.jobs, keep_going=args.keep_going,
            blender=_blender_options(args), changed=self._changed, tick=self._tick,
        )  # fmt: skip

    def run(self) -> int:
        """To the end or to Ctrl-C; the exit code."""
        if not any(take.action != "keep" for take in self.plan.takes):
            self.reporter.note("All takes are there, and nothing has changed.")
        with cancelled_by_signal(self.night.stop):
            try:
                self._run_night()
            except KeyboardInterrupt:  # the second one: what ran has been ended
                self.night.stop()
            finally:
                self._close()
        return self._tell_end()

    def _run_night(self) -> None:
        if any(take.action != "keep" for take in self.plan.takes):
            self.reporter.progress("backend", 0, 1)
            self.lease = Lease(lambda: self.night.stopped)
            self.night.generations = self.lease.workers + 1  # one is handed over while they work, so that no card is idle
            shots.check_engines(self.args.file, self.takes, self.lease.engines)
        self.folder.write(self.state)
        self.page.write()
        with choose_view(self.reporter, self.plan, self._seconds_left) as self.view:
            self.night.run()

    def _close(self) -> None:
        if self.lease:
            self.lease.close()
        if self.folder.path.exists():
            self.state.pid = 0
            self.folder.write(self.state)
            self.page.write()

    def _changed(self, work: Work) -> None:
        self.view.changed(work)
        if isinstance(work, TakeWork) and work.made.state != "running" or work.made.state == "failed":
            self.page.write()

    def _tick(self) -> None:
        self.lease.keep()
        self.view.tick()

    def _seconds_left(self) -> float | None:
        return batch_estimate.seconds_left(self.plan, self.past, self.args.jobs, time.time())

    def _wait_for_old_ones(self, before: BatchState | None) -> None:
        """Those that a killed batch has left end by themselves within seconds."""
        end = time.monotonic() + SECONDS_FOR_OLD_ONES
        for pid in batch_state.processes_of(before):
            while pid_alive(pid) and time.monotonic() < end:
                time.sleep(SECONDS_BETWEEN_LOOKS)
            batch_state.check_ended(self.folder, pid)
        if before:
            batch_state.forget_processes(before)

    def _tell_end(self) -> int:
        done = [take for take in self.plan.takes if take.made.state == "done"]
        failed = [take for take in self.plan.takes if take.made.state == "failed"]
        left = len(self.plan.takes) - len(done) - len(failed)
        go_on = shlex.join(["das", "batch", str(self.args.file), "-o", str(self.folder.path), "--resume"])
        numbers = [f"{len(done)} of {len(self.plan.takes)} takes are done", *[f"{len(failed)} failed"] * bool(failed), *[f"{left} are left"] * bool(left)]
        hint = f"\nGo on with: {go_on}" if (failed or left) and not self.night.stopped else ""
        self.reporter.result(
            f"{', '.join(numbers)}. {self.folder.page}{hint}", page=str(self.folder.page.resolve()), done=[take.name for take in done], failed=[take.name for take in failed], left=left,
            seconds=round(time.time() - self.state.began, 3),
        )  # fmt: skip
        if self.night.stopped:
            raise Cancelled("The batch was stopped.", f"Go on with: {go_on}")
        return self.night.first_failure.made.exit_code if self.night.first_failure else DONE


def _check_blender(args: argparse.Namespace, plan: Plan) -> None:
    """UsageError where scenes are to be captured and no Blender that can is known."""
    if any(work.action == "make" and work.capture.is_scene for work in plan.captures) and (args.blender or "blender" not in cli.rooms_here()):
        cli.find_environment("blender", args.blender)


def _blender_options(args: argparse.Namespace) -> list[str]:
    return [*(["--blender", args.blender] if args.blender else []), *(["--scripts"] if args.scripts else [])]
