"""What must be true once all clients have gone home: read from their journals, the queue's file and the log."""

from __future__ import annotations

import sqlite3
from collections import Counter, defaultdict
from contextlib import closing
from pathlib import Path

from diffusion_as_shader.backend.running import MAX_ATTEMPTS
from diffusion_as_shader.backend.queue import Queue
from diffusion_as_shader.shared.messages import FINAL_STATES

from .backend import ENGINE
from .engine import expected, made_file
from .journal import Ledger
from .plan import JobPlan, Plan
from .player import JOBS_AT_ONCE, hash_of
from .processes import files_below

HISTORY = """
CREATE TABLE IF NOT EXISTS history (number INTEGER PRIMARY KEY, job TEXT, old TEXT, new TEXT);
CREATE TRIGGER IF NOT EXISTS remember AFTER UPDATE OF state ON jobs
BEGIN INSERT INTO history (job, old, new) VALUES (new.id, old.state, new.state); END;
"""
DEATHS = ("worker_died", "backend_died", "hung")


def remember_history(spool: Path) -> None:
    """Make the queue's file remember each change of state, in the transaction that makes it."""
    spool.mkdir(parents=True, exist_ok=True)
    Queue(spool / "queue.sqlite").close()
    change(spool, HISTORY)


def change(spool: Path, statements: str) -> None:
    """Change the queue's file from outside."""
    with closing(sqlite3.connect(spool / "queue.sqlite")) as base:
        base.executescript(statements)


class Audit:
    """``broken`` holds a sentence for each promise that was not kept; ``figures`` what is worth telling.

    ``losses`` is how often a client's last words may have been lost: it, or the server, was killed, or it left;
    ``forgotten``: ended jobs may be gone from the queue, as a clock has jumped beyond the time for which they are kept.
    """

    def __init__(self, plan: Plan, ledgers: list[Ledger], home: Path, log: str, losses: int, forgotten: bool = False):
        self.broken: list[str] = []
        self.figures: list[str] = []
        self._home = home
        self._plans = {job.job: job for job in plan.jobs}
        self._ledgers = {job.job: ledger for client, ledger in zip(plan.clients, ledgers) for job in client.jobs}
        with closing(sqlite3.connect(home / "spool" / "queue.sqlite")) as base:
            self._rows = {row[0]: row[1:] for row in base.execute("SELECT id, state, attempts FROM jobs")}
            self._changes = defaultdict(list)
            for job, new in base.execute("SELECT job, new FROM history ORDER BY number"):
                self._changes[job].append(new)
        if forgotten:
            tries = {job: (news[-1], news.count("running")) for job, news in self._changes.items() if news[-1] in FINAL_STATES}
            self._rows = tries | self._rows
        self.tried_again = [job for job, (_, attempts) in self._rows.items() if attempts > 1]
        self._made = Counter(made_file(home).read_text().splitlines())
        for job, plan in self._plans.items():
            self._check_job(plan, self._ledgers[job])
        self._check_spool(losses)
        self._check_log(log)
        self._count()

    def _check_job(self, plan: JobPlan, ledger: Ledger) -> None:
        state, attempts = self._rows.get(plan.job, (None, 0))
        said = ledger.ends[plan.job]
        ends = [new for new in self._changes[plan.job] if new in FINAL_STATES]
        self._hold(state is not None, plan, "was acknowledged and is not in the queue's file")
        self._hold(len(ends) == 1, plan, f"ended {len(ends)} times: {self._changes[plan.job]}")
        self._hold(len(set(said)) == 1, plan, f"was told to its client as {said}")
        self._hold(said[:1] and said[0].split()[0] == state, plan, f"is {state} in the queue and {said} with its client")
        self._hold(attempts <= MAX_ATTEMPTS, plan, f"was tried {attempts} times")
        self._check_state(plan, ledger, state, attempts, said[-1] if said else "")
        self._check_frames(plan, ledger, state)
        self._check_resumed(plan, attempts)

    def _check_state(self, plan: JobPlan, ledger: Ledger, state: str, attempts: int, said: str) -> None:
        """Done, but for who cancelled it, what is wrong with it, or having been killed as often as it may be."""
        kind = said.removeprefix("failed ").partition(":")[0]
        if state == "cancelled":
            self._hold(plan.job in ledger.cancelled, plan, "was cancelled by nobody")
        elif state == "failed":
            failing = kind == "engine" and "fail=" in plan.prompt
            died = kind in DEATHS and attempts >= MAX_ATTEMPTS
            self._hold(failing or died, plan, f"failed without a cause after {attempts} attempts: {said}")
        elif state == "done":
            self._hold("fail=" not in plan.prompt and "die=" not in plan.prompt, plan, "is done though it could not be")

    def _check_frames(self, plan: JobPlan, ledger: Ledger, state: str) -> None:
        """Those that came are right, and of a done job all came."""
        right = [hash_of(pixels) for pixels in expected(plan.request)]
        wrong = [index for index, said in ledger.frames[plan.job].items() if said != right[index]]
        wrong += [entry.index for entry in ledger.again if entry.job == plan.job and entry.said != right[entry.index]]
        self._hold(not wrong, plan, f"has wrong frames {wrong}")
        missing = sorted(set(range(plan.frames)) - set(ledger.frames[plan.job]))
        self._hold(state != "done" or not missing, plan, f"is done without its frames {missing}")

    def _check_resumed(self, plan: JobPlan, attempts: int) -> None:
        """An engine that resumes makes no frame again but the one at hand when it was killed."""
        again = [line for line, count in self._made.items() if count > 1 and line.startswith(f"{plan.seed} ")]
        allowed = max(0, len([new for new in self._changes[plan.job] if new == "running"]) - 1)
        self._hold(plan.engine != ENGINE or len(again) <= allowed, plan, f"was made again in part: {len(again)} frames")

    def _check_spool(self, losses: int) -> None:
        """A done job, whose client has all of it, leaves nothing, but where what the client said last was lost."""
        self._left = [job for job, (state, _) in self._rows.items() if state == "done" and files_below(self._home / "spool" / job)]
        if len(self._left) > JOBS_AT_ONCE * losses:
            self.broken.append(f"The done jobs {', '.join(self._left)} leave files in the spool.")

    def _check_log(self, log: str) -> None:
        """No traceback but that of the engine which is torn on purpose."""
        for text, count in Counter(_tracebacks(log)).items():
            if "the pattern is torn" not in text:
                self.broken.append(f"The log holds a defect, {count} times:\n{text}")

    def _count(self) -> None:
        states = Counter(state for state, _ in self._rows.values())
        again = sum(len(ledger.again) for ledger in set(self._ledgers.values()))
        frames = sum(plan.frames for job, plan in self._plans.items() if self._rows.get(job, [""])[0] == "done")
        made = self._made
        self.figures = [
            f"{len(self._plans)} jobs: " + ", ".join(f"{count} {state}" for state, count in sorted(states.items())),
            f"{frames} frames of done jobs, each right by its hash; {len(self.tried_again)} jobs tried twice",
            f"{sum(made.values()) - len(made)} of {sum(made.values())} frames made a second time, {again} sent a second time",
            f"{len(self._left)} done jobs leave files until they are pruned, as their clients' last words were lost",
        ]

    def _hold(self, held: object, plan: JobPlan, sentence: str) -> None:
        if not held:
            self.broken.append(f"Job {plan.job} ({plan.prompt!r}, {plan.frames} frames) {sentence}.")


def _tracebacks(log: str) -> list[str]:
    """Each traceback of a log, with the line that ends it."""
    found, at_hand = [], None
    for line in log.splitlines():
        if line.startswith("Traceback "):
            at_hand = [line]
        elif at_hand is not None:
            at_hand.append(line)
            if line[:1].strip() and not line.startswith("Traceback "):
                found.append("\n".join(at_hand))
                at_hand = None
    return found
