"""On which line each key of a TOML text stands, for errors that say where; tomllib itself forgets it."""

from __future__ import annotations

import re
import tomllib

Path = tuple[str | int, ...]

SPACE = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
BLANK = re.compile(r"[ \t]*")
HEADER = re.compile(r"\[(\[?)")
KEY_PART = re.compile(r"[A-Za-z0-9_-]+|\"(?:[^\"\\\n]|\\.)*\"|'[^'\n]*'")
STRING = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}|\'\'\'.*?\'{3,5}|"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'', re.DOTALL)
SCALAR = re.compile(r"[^,\]}#\n]+")


def lines_of(text: str) -> dict[Path, int]:
    """Line, from 1, of each table, key and array item by its path: ('shot', 0, 'prompt'). ``text`` is TOML that tomllib reads."""
    return _Locator(text).run()


class _Locator:
    """Walks over a text once. The first line on which a path stands counts; of a table of an array its own header."""

    def __init__(self, text: str):
        self.text, self.at = text, 0
        self.lines: dict[Path, int] = {}
        self.sizes: dict[Path, int] = {}

    def run(self) -> dict[Path, int]:
        table: Path = ()
        self._take(SPACE)
        while self.at < len(self.text):
            table = self._header() if self.text[self.at] == "[" else self._pair(table)
            self._take(SPACE)
        return self.lines

    def _header(self) -> Path:
        """The table that begins here, after its [name] or [[name]]."""
        start = self.at
        several = bool(self._take(HEADER).group(1))
        path = self._resolve(self._key())
        self.at += 1 + several
        if several:
            self.sizes[path] = self.sizes.get(path, 0) + 1
            path = (*path, self.sizes[path] - 1)
        self._note(path, start)
        return path

    def _pair(self, table: Path) -> Path:
        """One ``key = value``; the table again, for the next."""
        start = self.at
        path = (*table, *self._key())
        self._note(path, start)
        self.at += 1  # the =
        self._take(BLANK)
        self._value(path)
        return table

    def _value(self, path: Path) -> None:
        match self.text[self.at]:
            case "[":
                self._inside("]", path, self._item)
            case "{":
                self._inside("}", path, lambda table, number: self._pair(table))
            case '"' | "'":
                self._take(STRING)
            case _:
                self._take(SCALAR)

    def _inside(self, end: str, path: Path, take_one) -> None:
        number = 0
        self.at += 1
        self._take(SPACE)
        while self.text[self.at] != end:
            take_one(path, number)
            number += 1
            self._take(SPACE)
            self.at += self.text[self.at] == ","
            self._take(SPACE)
        self.at += 1

    def _item(self, path: Path, number: int) -> None:
        self._note((*path, number), self.at)
        self._value((*path, number))

    def _key(self) -> Path:
        """A key, dotted or not; what follows its blanks is next."""
        parts = []
        while True:
            self._take(BLANK)
            word = self._take(KEY_PART).group()
            parts.append(next(iter(tomllib.loads(f"{word} = 0"))))
            self._take(BLANK)
            if self.text[self.at] != ".":
                return tuple(parts)
            self.at += 1

    def _resolve(self, names: Path) -> Path:
        """A header's names, each array of tables on the way standing for its last table."""
        path: Path = ()
        for number, name in enumerate(names):
            path = (*path, name)
            if path in self.sizes and number < len(names) - 1:
                path = (*path, self.sizes[path] - 1)
        return path

    def _note(self, path: Path, start: int) -> None:
        line = self.text.count("\n", 0, start) + 1
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], line)

    def _take(self, pattern: re.Pattern[str]) -> re.Match[str]:
        match = pattern.match(self.text, self.at)
        self.at = match.end()
        return match
