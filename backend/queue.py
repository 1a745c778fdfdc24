"""The job queue in SQLite. A job's state changes in :meth:`Queue.set_state` and nowhere else.

Clients take turns: each waiting job's turn comes after as many jobs of every other client as of its own, and first comes
the client whose last turn is longest ago. So a night of shots of one does not make another's only job wait for the morning.
"""

from __future__ import annotations

import sqlite3
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from ..shared.errors import BackendError
from ..shared.messages import FINAL_STATES, Done, Failed, JobInfo, JobState, Progress, WorkKind
from ..shared.request import GenerationRequest

LEGAL: dict[JobState, tuple[JobState, ...]] = {
    "queued": ("running", "failed", "cancelled"),
    "running": ("done", "failed", "cancelled", "queued"),
    "failed": ("queued",),
    "cancelled": ("queued",),
    "done": (),
}
LISTED_AT_MOST = 200

TABLE = """
CREATE TABLE IF NOT EXISTS jobs (
    id TEXT PRIMARY KEY, state TEXT NOT NULL, position INTEGER NOT NULL, request BLOB NOT NULL, title TEXT NOT NULL,
    client TEXT NOT NULL, created REAL NOT NULL, updated REAL NOT NULL, attempts INTEGER NOT NULL DEFAULT 0,
    failure BLOB, result BLOB
)"""
ADDED = {  # since the table was first made; one of an older version gets them
    "work": "TEXT NOT NULL DEFAULT 'generate'",
    "owner": "TEXT NOT NULL DEFAULT ''",
    "turn": "INTEGER NOT NULL DEFAULT 0",
    "begun": "REAL NOT NULL DEFAULT 0",
    "notes": "TEXT NOT NULL DEFAULT '[]'",
}
_TURN = "UPDATE jobs SET turn = (SELECT MAX(turn) FROM jobs) + 1, begun = ? WHERE id = ?"
PLAIN = ("id", "state", "position", "title", "client", "owner", "created", "updated", "begun", "attempts", "work")


class Record(msgspec.Struct, kw_only=True):
    """A row. ``failure`` is how a failed job ended, ``result`` how a done one did; ``position`` only orders an owner's jobs.

    ``attempts`` counts how often it was begun, ``notes`` says what became of those that did not come to their end.
    ``owner`` is the process that its client was, with whom others take turns.
    """

    id: str
    state: JobState
    position: int
    request: GenerationRequest
    title: str
    client: str
    created: float
    updated: float
    attempts: int
    failure: Failed | None
    result: Done | None
    work: WorkKind = "generate"
    owner: str = ""
    begun: float = 0.0
    notes: list[str] = []

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def results(self) -> int:
        """How many frames, or signals, a client gets of a done job."""
        return self.request.frames if self.work == "generate" else len(self.result.signals)


class Queue:
    """All jobs that the backend knows. Every change is on the disk when a method returns; BackendError where it cannot be."""

    def __init__(self, file: Path | str, clock: Callable[[], float] = time.time):
        self._clock = clock
        self._base = sqlite3.connect(file, isolation_level=None)
        self._base.row_factory = sqlite3.Row
        try:
            self._prepare()
        except sqlite3.DatabaseError as error:
            self._base.close()
            fix = "Free some space if the disk is full; else move the file away, and the backend begins a new queue."
            raise BackendError(f"The queue {file} cannot be used: {error}.", fix) from None

    def _prepare(self) -> None:
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")
        self._base.execute(TABLE)
        there = {row["name"] for row in self._base.execute("PRAGMA table_info(jobs)")}
        for name in ADDED.keys() - there:
            self._base.execute(f"ALTER TABLE jobs ADD COLUMN {name} {ADDED[name]}")

    def close(self) -> None:
        self._base.close()

    def add(
        self,
        job: str,
        request: GenerationRequest,
        title: str = "",
        client: str = "",
        work: WorkKind = "generate",
        owner: str = "",
    ) -> None:
        """A new job behind its owner's others; ValueError where the id is known already."""
        if self.get(job) is not None:
            raise ValueError(f"job {job} is in the queue already")
        now = self._clock()
        self._write(
            "INSERT INTO jobs (id, state, position, request, title, client, owner, created, updated, work)"
            " VALUES (?, 'queued', (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), ?, ?, ?, ?, ?, ?, ?)",
            (job, msgspec.json.encode(request), title, client, owner, now, now, work),
        )

    def set_state(
        self,
        job: str,
        state: JobState,
        *,
        failure: Failed | None = None,
        result: Done | None = None,
        attempts: int | None = None,
        note: str = "",
    ) -> None:
        """The one place where a job's state changes; ValueError where the change is not legal.

        ``attempts`` None: one more where it begins to run, otherwise what they were.
        """
        record = self.get(job)
        if record is None or state not in LEGAL[record.state]:
            raise ValueError(f"job {job} cannot become {state} from {record.state if record else 'nothing'}")
        now, begins = self._clock(), state == "running"
        attempts = record.attempts + begins if attempts is None else attempts
        notes = msgspec.json.encode([*record.notes, note] if note else record.notes).decode()
        self._write(
            "UPDATE jobs SET state = ?, updated = ?, attempts = ?, notes = ?, failure = ?, result = ? WHERE id = ?",
            (state, now, attempts, notes, _blob(failure), _blob(result), job),
            *([_TURN, (now, job)] if begins else []),
        )

    def get(self, job: str) -> Record | None:
        row = self._base.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
        return _record(row) if row else None

    def next(self) -> Record | None:
        """The job whose turn it is."""
        waiting = self.waiting()
        return self.get(waiting[0]) if waiting else None

    def waiting(self, owner: str | None = None) -> list[str]:
        """The waiting jobs in the order in which they would run; only those of one owner where it is given."""
        rows = self._base.execute("SELECT id, owner FROM jobs WHERE state = 'queued' ORDER BY position").fetchall()
        turns = dict(self._base.execute("SELECT owner, MAX(turn) FROM jobs GROUP BY owner").fetchall())
        before: Counter[str] = Counter()
        keys = {}
        for place, row in enumerate(rows):
            keys[row["id"]] = (before[row["owner"]], turns[row["owner"]], place)
            before[row["owner"]] += 1
        return sorted((row["id"] for row in rows if owner in (None, row["owner"])), key=keys.__getitem__)

    def states(self) -> dict[str, JobState]:
        """The state of every job."""
        return dict(self._base.execute("SELECT id, state FROM jobs").fetchall())

    def ended(self) -> list[tuple[str, float]]:
        """Every ended job and when it ended, the oldest first."""
        rows = self._base.execute("SELECT id, updated FROM jobs WHERE state NOT IN ('queued', 'running') ORDER BY updated")
        return [tuple(row) for row in rows]

    def in_state(self, state: JobState) -> list[Record]:
        """All jobs of a state, in their order."""
        rows = self._base.execute("SELECT * FROM jobs WHERE state = ? ORDER BY position", (state,))
        return [_record(row) for row in rows]

    def place(self, job: str) -> int:
        """How many jobs run before a waiting one; -1 for any other."""
        waiting = self.waiting()
        return waiting.index(job) if job in waiting else -1

    def reorder(self, job: str, place: int) -> None:
        """Move a waiting job to a place, 0 to run next; ValueError where it does not wait.

        Only the order of its owner's jobs changes: owners take turns as before.
        """
        waiting = self.waiting()
        if job not in waiting:
            raise ValueError(f"job {job} does not wait")
        waiting.remove(job)
        waiting.insert(max(0, place), job)
        mine = set(self.waiting(self.get(job).owner))
        slots = sorted(self.get(each).position for each in mine)
        moved = zip(slots, [each for each in waiting if each in mine])
        self._write(*(part for slot, each in moved for part in ("UPDATE jobs SET position = ? WHERE id = ?", (slot, each))))

    def forget(self, job: str) -> None:
        """Remove an ended job."""
        self._write("DELETE FROM jobs WHERE id = ? AND state IN ('done', 'failed', 'cancelled')", (job,))

    def infos(self, progress: dict[str, Progress]) -> list[JobInfo]:
        """Running, waiting in their order, then ended jobs, newest first; at most LISTED_AT_MOST."""
        rows = self._base.execute(
            "SELECT * FROM jobs ORDER BY CASE state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END,"
            " CASE WHEN state IN ('running', 'queued') THEN position ELSE -updated END LIMIT ?",
            (LISTED_AT_MOST,),
        ).fetchall()
        places = {job: place for place, job in enumerate(self.waiting())}
        infos = [info(_record(row), places.get(row["id"], -1), progress.get(row["id"])) for row in rows]
        first = {"running": 0, "queued": 1}
        return sorted(infos, key=lambda entry: (first.get(entry.state, 2), entry.position))

    def _write(self, *statements) -> None:
        """Statements and their values by turns, all or none; BackendError where the disk does not take them."""
        try:
            with self._base:
                self._base.execute("BEGIN IMMEDIATE")
                for statement, values in zip(statements[::2], statements[1::2]):
                    self._base.execute(statement, values)
        except sqlite3.OperationalError as error:
            fix = "Free some space, or move DAS_HOME to another disk."
            raise BackendError(f"The backend cannot write its queue: {error}.", fix) from None


def info(record: Record, place: int, progress: Progress | None) -> JobInfo:
    """A record as clients see it."""
    return JobInfo(
        job=record.id,
        state=record.state,
        title=record.title,
        engine=record.request.engine,
        frames=record.request.frames,
        work=record.work,
        position=place,
        client=record.client,
        owner=record.owner,
        created=record.created,
        begun=record.begun,
        updated=record.updated,
        attempts=record.attempts,
        notes=record.notes,
        progress=progress,
        failure=record.failure,
    )


def _record(row: sqlite3.Row) -> Record:
    return Record(
        **{name: row[name] for name in PLAIN},
        request=msgspec.json.decode(row["request"], type=GenerationRequest),
        notes=msgspec.json.decode(row["notes"], type=list[str]),
        failure=msgspec.json.decode(row["failure"], type=Failed) if row["failure"] else None,
        result=msgspec.json.decode(row["result"], type=Done) if row["result"] else None,
    )


def _blob(value: msgspec.Struct | None) -> bytes | None:
    return msgspec.json.encode(value) if value is not None else None
