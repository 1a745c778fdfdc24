"""The job queue in SQLite. A job's state changes in :meth:`Queue.set_state` and nowhere else."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

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
    failure BLOB, result BLOB, work TEXT NOT NULL DEFAULT 'generate'
)"""


class Record(msgspec.Struct, kw_only=True):
    """A row. ``failure`` is how a failed job ended, ``result`` how a done one did; ``position`` only orders."""

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

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    @property
    def results(self) -> int:
        """How many frames, or signals, a client gets of a done job."""
        return self.request.frames if self.work == "generate" else len(self.result.signals)


class Queue:
    """All jobs that the backend knows. Every change is on the disk when a method returns."""

    def __init__(self, file: Path | str, clock: Callable[[], float] = time.time):
        self._clock = clock
        self._base = sqlite3.connect(file, isolation_level=None)
        self._base.row_factory = sqlite3.Row
        self._base.execute("PRAGMA journal_mode = WAL")
        self._base.execute("PRAGMA synchronous = FULL")
        self._base.execute(TABLE)
        if "work" not in {row["name"] for row in self._base.execute("PRAGMA table_info(jobs)")}:  # made before tasks came
            self._base.execute("ALTER TABLE jobs ADD COLUMN work TEXT NOT NULL DEFAULT 'generate'")

    def close(self) -> None:
        self._base.close()

    def add(
        self, job: str, request: GenerationRequest, title: str = "", client: str = "", work: WorkKind = "generate"
    ) -> None:
        """A new job at the end of the queue; ValueError where the id is known already."""
        now = self._clock()
        try:
            self._base.execute(
                "INSERT INTO jobs (id, state, position, request, title, client, created, updated, work)"
                " VALUES (?, 'queued', (SELECT COALESCE(MAX(position), 0) + 1 FROM jobs), ?, ?, ?, ?, ?, ?)",
                (job, msgspec.json.encode(request), title, client, now, now, work),
            )
        except sqlite3.IntegrityError:
            raise ValueError(f"job {job} is in the queue already") from None

    def set_state(
        self, job: str, state: JobState, *, failure: Failed | None = None, result: Done | None = None
    ) -> None:
        """The one place where a job's state changes; ValueError where the change is not legal."""
        record = self.get(job)
        if record is None or state not in LEGAL[record.state]:
            raise ValueError(f"job {job} cannot become {state} from {record.state if record else 'nothing'}")
        self._base.execute(
            "UPDATE jobs SET state = ?, updated = ?, attempts = attempts + ?, failure = ?, result = ? WHERE id = ?",
            (state, self._clock(), state == "running", _blob(failure), _blob(result), job),
        )

    def get(self, job: str) -> Record | None:
        row = self._base.execute("SELECT * FROM jobs WHERE id = ?", (job,)).fetchone()
        return _record(row) if row else None

    def next(self) -> Record | None:
        """The job whose turn it is."""
        row = self._base.execute("SELECT * FROM jobs WHERE state = 'queued' ORDER BY position LIMIT 1").fetchone()
        return _record(row) if row else None

    def in_state(self, state: JobState) -> list[Record]:
        """All jobs of a state, in their order."""
        rows = self._base.execute("SELECT * FROM jobs WHERE state = ? ORDER BY position", (state,))
        return [_record(row) for row in rows]

    def place(self, job: str) -> int:
        """How many jobs run before a waiting one; -1 for any other."""
        waiting = [record.id for record in self.in_state("queued")]
        return waiting.index(job) if job in waiting else -1

    def reorder(self, job: str, place: int) -> None:
        """Move a waiting job to a place, 0 to run next; ValueError where it does not wait."""
        waiting = [record.id for record in self.in_state("queued")]
        if job not in waiting:
            raise ValueError(f"job {job} does not wait")
        slots = [record.position for record in self.in_state("queued")]
        waiting.remove(job)
        waiting.insert(max(0, place), job)
        self._base.execute("BEGIN IMMEDIATE")
        self._base.executemany("UPDATE jobs SET position = ? WHERE id = ?", list(zip(slots, waiting)))
        self._base.execute("COMMIT")

    def forget(self, job: str) -> None:
        """Remove an ended job."""
        self._base.execute("DELETE FROM jobs WHERE id = ? AND state IN ('done', 'failed', 'cancelled')", (job,))

    def infos(self, progress: dict[str, Progress]) -> list[JobInfo]:
        """Running, waiting in their order, then ended jobs, newest first; at most LISTED_AT_MOST."""
        rows = self._base.execute(
            "SELECT * FROM jobs ORDER BY CASE state WHEN 'running' THEN 0 WHEN 'queued' THEN 1 ELSE 2 END,"
            " CASE WHEN state IN ('running', 'queued') THEN position ELSE -updated END LIMIT ?",
            (LISTED_AT_MOST,),
        ).fetchall()
        places = {record.id: place for place, record in enumerate(self.in_state("queued"))}
        return [info(_record(row), places.get(row["id"], -1), progress.get(row["id"])) for row in rows]


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
        created=record.created,
        updated=record.updated,
        progress=progress,
        failure=record.failure,
    )


def _record(row: sqlite3.Row) -> Record:
    return Record(
        **{name: row[name] for name in ("id", "state", "position", "title", "client", "created", "updated", "attempts", "work")},
        request=msgspec.json.decode(row["request"], type=GenerationRequest),
        failure=msgspec.json.decode(row["failure"], type=Failed) if row["failure"] else None,
        result=msgspec.json.decode(row["result"], type=Done) if row["result"] else None,
    )


def _blob(value: msgspec.Struct | None) -> bytes | None:
    return msgspec.json.encode(value) if value is not None else None
