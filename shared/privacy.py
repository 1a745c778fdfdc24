"""Text that is shown to others: without the names of people, machines and folders."""

from __future__ import annotations

import getpass
import re
import socket
from collections.abc import Iterable
from pathlib import Path

SHORTEST = 3  # a shorter name is found inside of too many words
WORD = r"[^\s\\/:'\"<>|,;()]+"
# a folder may have spaces in it, its slash ends it; the last part has none
PATH = re.compile(rf"(?<![\w.:/~])(?:[A-Za-z]:)?(?:[\\/]{{1,2}}{WORD}(?: {WORD}){{0,5}}(?=[\\/]))+[\\/]{{1,2}}{WORD}")
SEPARATOR = re.compile(r"[\\/]")


def without_names(text: str, folders: Iterable[Path] = ()) -> str:
    """``text`` in which these folders and the user's home are ..., other absolute paths only their last part, and the user's
    and the machine's names are gone. ``folders`` may have names with spaces in them."""
    for folder in sorted({str(one) for one in (*folders, Path.home())}, key=len, reverse=True):
        text = text.replace(folder, "...") if len(folder) >= SHORTEST else text
    text = PATH.sub(lambda found: ".../" + SEPARATOR.split(found.group())[-1], text)
    for name, instead in ((_user(), "USER"), (socket.gethostname(), "MACHINE")):
        if len(name) >= SHORTEST:
            text = re.sub(rf"(?<![A-Za-z0-9]){re.escape(name)}(?![A-Za-z0-9])", instead, text, flags=re.IGNORECASE)
    return text


def _user() -> str:
    """Empty where the system knows no name for who runs this."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return ""
