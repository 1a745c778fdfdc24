"""Find Pythons of a wanted version on this machine.

A name is no proof: a shim called python3.13 may start nothing at all, and Debian's python3 may lack ensurepip.
So each candidate is run and asked before it is taken.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

# The base of an activated environment, which may be one that is about to be remade.
ASK = "import sys, ensurepip, venv; print(*sys.version_info[:3], sys._base_executable or sys.executable)"
ANSWER_WITHIN = 20  # seconds; a cold start from a network folder takes long

Minor = tuple[int, int]


class Interpreter(NamedTuple):
    """A Python that has answered: its path, and its version as three numbers."""

    path: Path
    version: tuple[int, int, int]


def find_interpreter(minor: Minor) -> Interpreter | None:
    """The first Python of exactly this minor version that runs and can make environments."""
    for command in candidates(minor):
        found = ask(command)
        if found and found.version[:2] == minor:
            return found
    return None


def ask(command: list[str]) -> Interpreter | None:
    """Run a candidate and let it name itself; None if it fails in any way."""
    try:
        answer = subprocess.run(
            [*command, "-I", "-X", "utf8", "-c", ASK],
            capture_output=True, encoding="utf-8", timeout=ANSWER_WITHIN, stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    words = answer.stdout.strip().split(" ", 3)
    if answer.returncode or len(words) != 4:
        return None
    return Interpreter(Path(words[3]), tuple(int(word) for word in words[:3]))


def candidates(minor: Minor) -> Iterator[list[str]]:
    """Commands that may be a Python of this version, each once, the likeliest first."""
    seen = set()
    for command in _candidates(minor):
        if tuple(command) not in seen:
            seen.add(tuple(command))
            yield command


def _candidates(minor: Minor) -> Iterator[list[str]]:
    name = f"python{minor[0]}.{minor[1]}"
    if sys.version_info[:2] == minor:
        yield [sys.executable]
    if os.name == "nt" and shutil.which("py"):
        yield ["py", f"-{minor[0]}.{minor[1]}"]
    for file in (name, "python3", "python"):
        for folder in os.environ.get("PATH", os.defpath).split(os.pathsep):
            path = shutil.which(file, path=folder or os.curdir)
            if path:
                yield [path]
    for path in known_places(minor):
        yield [str(path)]


def known_places(minor: Minor) -> Iterator[Path]:
    """Where version managers and installers put Pythons that PATH does not name."""
    version = f"{minor[0]}.{minor[1]}"
    home = Path.home()
    pyenv = Path(os.environ.get("PYENV_ROOT") or home / ".pyenv") / "versions"
    uv = Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or _uv_folder(home))
    for manager, pattern in ((pyenv, f"{version}*"), (uv, f"*-{version}*")):
        for installed in sorted(manager.glob(pattern), reverse=True):
            yield from _existing(installed / "bin" / f"python{version}", installed / "python.exe")
    yield from _existing(
        Path(f"/opt/homebrew/bin/python{version}"),
        Path(f"/opt/homebrew/opt/python@{version}/bin/python{version}"),
        Path(f"/usr/local/bin/python{version}"),
        Path(f"/Library/Frameworks/Python.framework/Versions/{version}/bin/python{version}"),
        Path(f"/usr/bin/python{version}"),
        Path(os.environ.get("LOCALAPPDATA", "")) / f"Programs/Python/Python{minor[0]}{minor[1]}/python.exe",
    )


def _uv_folder(home: Path) -> Path:
    if os.name == "nt":
        return Path(os.environ.get("APPDATA") or home / "AppData/Roaming") / "uv" / "python"
    return Path(os.environ.get("XDG_DATA_HOME") or home / ".local/share") / "uv" / "python"


def _existing(*paths: Path) -> Iterator[Path]:
    return (path for path in paths if path.is_file())


def how_to_get(minor: Minor) -> str:
    """One sentence: how a user comes by this Python."""
    version = f"{minor[0]}.{minor[1]}"
    return f"Install Python {version} (python.org, 'uv python install {version}' or 'pyenv install {version}') and run this again."
