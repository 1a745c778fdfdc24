"""What a client knows, on the disk before it says so: the take of the soak. It survives the client's being killed."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Literal

import msgspec

Kind = Literal["submit", "accepted", "cancel", "frame", "again", "end", "lost", "leave"]


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line. ``said`` is a frame's hash, an end's state and kind of failure, or the words of a refusal."""

    kind: Kind
    job: str = ""
    index: int = -1
    said: str = ""


class Ledger:
    """What the entries so far come to."""

    def __init__(self):
        self.submitted: set[str] = set()
        self.accepted: set[str] = set()
        self.cancelled: set[str] = set()
        self.frames: defaultdict[str, dict[int, str]] = defaultdict(dict)
        self.again: list[Entry] = []
        self.ends: defaultdict[str, list[str]] = defaultdict(list)
        self.lost: list[Entry] = []
        self.leaves = 0

    def enter(self, entry: Entry) -> None:
        match entry.kind:
            case "submit":
                self.submitted.add(entry.job)
            case "accepted":
                self.accepted.add(entry.job)
            case "cancel":
                self.cancelled.add(entry.job)
            case "frame":
                self.frames[entry.job][entry.index] = entry.said
            case "again":
                self.again.append(entry)
            case "end":
                self.ends[entry.job].append(entry.said)
            case "lost":
                self.lost.append(entry)
            case "leave":
                self.leaves += 1

    @property
    def frame_count(self) -> int:
        return sum(map(len, self.frames.values()))


class Journal:
    """The file, whose last line a kill may have torn. One write a line, so what is written survives its writer."""

    def __init__(self, file: Path):
        self.ledger = Ledger()
        whole = file.read_bytes() if file.exists() else b""
        whole = whole[: whole.rfind(b"\n") + 1]
        for line in whole.splitlines():
            self.ledger.enter(msgspec.json.decode(line, type=Entry))
        self._stream = file.open("r+b" if file.exists() else "w+b", buffering=0)
        self._stream.truncate(len(whole))
        self._stream.seek(len(whole))

    def write(self, kind: Kind, job: str = "", index: int = -1, said: str = "") -> None:
        entry = Entry(kind, job, index, said)
        self._stream.write(msgspec.json.encode(entry) + b"\n")
        self.ledger.enter(entry)


class Reader:
    """Somebody else's journal, read as it grows."""

    def __init__(self, file: Path):
        self.ledger = Ledger()
        self._file = file
        self._at = 0

    def read(self) -> Ledger:
        """All that is there by now, but for a line that is not whole yet."""
        if self._file.exists():
            with self._file.open("rb") as stream:
                stream.seek(self._at)
                new = stream.read()
            new = new[: new.rfind(b"\n") + 1]
            self._at += len(new)
            for line in new.splitlines():
                self.ledger.enter(msgspec.json.decode(line, type=Entry))
        return self.ledger
