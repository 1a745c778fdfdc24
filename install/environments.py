"""The environments: .venv/backend, .venv/model, .venv/blender-4.5 and .venv/blender-5.2, each with the package and `das`.

Each holds a stamp that says what it was made from. It is written as "making" before anything else and as "ready"
at the end, so an interrupted one is recognised and made anew; a folder without a stamp is not ours and stays.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from .errors import InstallError
from .home import home, register, write_json
from .interpreters import Interpreter, Minor, ask, find_interpreter, how_to_get
from .steps import run_step, say

STAMP = "das-environment.json"
NO_PACKAGE = "No matching distribution found for "  # pip's words
LOCK_WITHIN = 1800  # seconds: longer than making all environments over a slow line


class Plan(NamedTuple):
    """An environment to be: its room, the Pythons that will do, the best first, and the extras it installs.

    ``first`` is installed before them, and ``key`` is the package that some kinds of machine cannot have. ``alone`` comes last
    and without what it asks for.
    """

    name: str
    room: str
    pythons: tuple[Minor, ...]
    blender: str | None = None
    extras: tuple[str, ...] = ()
    first: str = ""
    key: str = "bpy"
    size: str = "about 300 MB"
    alone: tuple[str, ...] = ()


BACKEND_PYTHONS = ((3, 11), (3, 13), (3, 12))
# torch alone and first: pip then takes the build that its index holds for this machine, before others' wishes count.
# MoGe asks for viewers, a web page, torchvision and a second OpenCV, and estimates depth without any of them.
MOGE = ("dlr-moge==2.0.0", "dlr-utils3d==1.3", "dlr-pipeline==1.0.0")
MODEL = Plan("model", "backend", BACKEND_PYTHONS, None, ("backend", "model", "train"), "torch==2.13.0", "torch", "1 to 4 GB, some minutes", MOGE)
PLANS = (
    Plan("backend", "backend", BACKEND_PYTHONS),
    MODEL,
    Plan("blender-4.5", "blender", ((3, 11),), "4.5.15", size="about 1 GB, a minute or two"),
    Plan("blender-5.2", "blender", ((3, 13),), "5.2.3", size="about 1 GB, a minute or two"),
)


class Made(NamedTuple):
    """An environment that stands: what to call it, its Python, its Blender."""

    name: str
    room: str
    python: Path
    blender: str | None

    def entry(self) -> dict:
        """Its line in environments.json."""
        return {"room": self.room, "name": self.name, "python": str(self.python), "blender": self.blender}


class LeftOut(NamedTuple):
    """An environment that this machine cannot have, and why."""

    name: str
    reason: str


def make_environments(
    root: Path, plans: Sequence[Plan] = PLANS, *, test: bool = False, folder: Path | None = None
) -> tuple[list[Made], list[LeftOut]]:
    """Make what is missing or stale under root/.venv, and write all of it into environments.json.

    A Blender without its Python, or a model without torch, is left out; a backend without any is an InstallError. ``folder`` is DAS_HOME.
    """
    made, left_out = [], []
    with lock(root / ".venv"):
        for plan in plans:
            one = make_one(root, plan, test)
            (made if isinstance(one, Made) else left_out).append(one)
    register([one.entry() for one in made], folder or home())
    return made, left_out


def make_one(root: Path, plan: Plan, test: bool) -> Made | LeftOut:
    """Bring one environment up to date; a second run does nothing but look at its stamp."""
    place = root / ".venv" / plan.name
    stamp = read_stamp(place)
    extras = wanted_extras(plan, stamp, test)
    wanted = {"project": fingerprint(root), "place": str(place), "extras": extras, "alone": list(plan.alone)}
    made = Made(plan.name, plan.room, python_in(place), plan.blender)
    if stamp.get("state") == "ready" and stamp.items() >= wanted.items() and made.python.exists():
        return made
    if not usable(place, stamp):
        interpreter = find_any(plan.pythons)
        if interpreter is None:
            return no_python(plan)
        create(place, plan, interpreter)
    else:
        write_json(place / STAMP, {**stamp, "state": "updating"})
    try:
        install(root, place, plan, wanted)
    except InstallError as error:
        if plan.name == "backend" or NO_PACKAGE + plan.key not in error.message:
            raise
        return LeftOut(plan.name, f"there is no {plan.first or f'bpy {plan.blender}'} for this kind of machine.")
    return made


def wanted_extras(plan: Plan, stamp: dict, test: bool) -> list[str]:
    """What is to be installed: what a former run asked for stays."""
    return sorted({*(plan.extras or [plan.room]), *stamp.get("extras", []), *(["test"] if test else [])})


def fingerprint(root: Path) -> str:
    """Changes when the package's requirements do."""
    return hashlib.sha256((root / "pyproject.toml").read_bytes()).hexdigest()


def read_stamp(place: Path) -> dict:
    """What the environment was made from; {} where there is none yet. Raises InstallError for somebody else's."""
    try:
        return json.loads((place / STAMP).read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        if place.is_symlink() or place.exists():
            fix = "Move it away or delete it yourself, then run this again."
            raise InstallError(f"{place} was not made by this script, so it is left alone.", fix) from None
        return {}
    except ValueError:
        return {"state": "making"}  # the disk was full, or the power went, while the stamp was written


def usable(place: Path, stamp: dict) -> bool:
    """Whether an environment can be brought up to date in place: finished once, not moved, its Python alive."""
    return stamp.get("state") in ("ready", "updating") and stamp.get("place") == str(place) and ask([str(python_in(place))]) is not None


def find_any(pythons: Sequence[Minor]) -> Interpreter | None:
    """The running Python if it will do, else the first of the wanted ones that is found."""
    here = sys.version_info[:2]
    for minor in sorted(pythons, key=lambda minor: minor != here):
        if found := find_interpreter(minor):
            return found
    return None


def no_python(plan: Plan) -> LeftOut:
    """Say why a Blender is left out; there is no going on without the backend."""
    versions = " or ".join(f"{major}.{minor}" for major, minor in plan.pythons)
    reason = f"it needs Python {versions}, and none was found that runs."
    if plan.name == "backend":
        raise InstallError(f"The backend cannot be installed: {reason}", how_to_get(plan.pythons[0]))
    return LeftOut(plan.name, f"{reason} {how_to_get(plan.pythons[0])}")


def create(place: Path, plan: Plan, interpreter: Interpreter) -> None:
    """An empty environment, in the place of a half-made one if there is one."""
    if place.exists():
        say(f"{plan.name}: an unfinished or moved environment is made anew")
        remove(place)
    place.mkdir(parents=True)
    write_json(place / STAMP, {"state": "making"})
    version = ".".join(map(str, interpreter.version))
    command = [interpreter.path, "-m", "venv", place]
    run_step(f"{plan.name}: environment of Python {version}", command, log_of(place), place.parent)


def remove(place: Path) -> None:
    """Delete an environment of ours, its stamp last, so that an interrupted deletion is recognised too."""
    for child in place.iterdir():
        if child.name != STAMP:
            shutil.rmtree(child) if child.is_dir() and not child.is_symlink() else child.unlink()
    shutil.rmtree(place)


def install(root: Path, place: Path, plan: Plan, wanted: dict) -> None:
    """The package, editable so that the checkout is what runs, and its extras, by whatever index pip is set to use."""
    extras = ",".join(wanted["extras"])
    pip = [python_in(place), "-m", "pip", "install", "--disable-pip-version-check"]
    if plan.first:
        run_step(f"{plan.name}: {plan.first} ({plan.size})", [*pip, plan.first], log_of(place), root)
    size = "the rest" if plan.first else plan.size
    run_step(f"{plan.name}: packages ({extras}; {size})", [*pip, "-e", f".[{extras}]"], log_of(place), root)
    if plan.alone:
        run_step(f"{plan.name}: {', '.join(plan.alone)}", [*pip, "--no-deps", *plan.alone], log_of(place), root)
    write_json(place / STAMP, {"state": "ready", **wanted})


def python_in(place: Path) -> Path:
    """The Python of an environment."""
    return place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def log_of(place: Path) -> Path:
    """Where the output of venv and pip goes."""
    return place / "das-install.log"


@contextlib.contextmanager
def lock(folder: Path) -> Iterator[None]:
    """Only one run at a time makes environments here; another waits, and says so. The lock ends with its process."""
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / ".lock", "a+b") as file:
        if not take(file):
            say(f"Another run makes the environments in {folder}: waiting for it ...")
            deadline = time.monotonic() + LOCK_WITHIN
            while not take(file):
                if time.monotonic() > deadline:
                    raise InstallError(f"Another run has held {folder} for half an hour.", "End it, and run this again.")
                time.sleep(0.2)
        yield


def take(file) -> bool:
    """Lock an open file if nobody else holds it."""
    try:
        if os.name == "nt":
            import msvcrt

            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
