"""Make, switch and remove environments of the backend below DAS_HOME/backend; see managed_backend.py for what is where."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import time
import tomllib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from .environments import BACKEND_PYTHONS, MODEL, NO_PACKAGE, STAMP, find_any, lock, python_in, read_stamp, remove
from .errors import InstallError
from .home import known, register, unregister, write_json
from .interpreters import Interpreter, ask, how_to_get
from .steps import LOOK_EVERY, clean_environment, stop_tree, tail
from .torch_builds import WITHOUT_UV, uses_uv, uv_command

NAME = "preferences"  # in environments.json; shared/home.py knows it too
PACKAGE = "diffusion_as_shader"
FOLDERS, FILES = ("backend", "shared", "install"), ("__init__.py", "__main__.py", "pyproject.toml", "LICENSE")
PYTHONS = (*BACKEND_PYTHONS, (3, 14))
RAW_PROGRESS = (24, 1)  # the first pip that tells its progress as lines
PROGRESS = re.compile(rb"Progress (\d+) of (\d+)")
SECONDS_TO_END = 5.0
TRY = "import numpy, msgspec, zmq, av, cv2, scipy, imageio; from diffusion_as_shader.backend import server, worker"

Tell = Callable[..., None]


class Kind(NamedTuple):
    """What an environment can do: its extras, which build of torch, the room it takes, and what proves that it stands."""

    name: str
    extras: tuple[str, ...]
    torch: str  # '', 'auto' or 'cpu'
    gigabytes: float
    proof: str


class Step(NamedTuple):
    """A label, what gives the command when its time has come, and what stands in for it if it fails, with a note of that."""

    label: str
    command: Callable[[], list]
    otherwise: Callable[[], list] | None = None
    note: str = ""


WITH_MODEL = f"{TRY}; import torch, diffusers, transformers, huggingface_hub"
KINDS = {
    kind.name: kind
    for kind in (
        Kind("projection", ("backend",), "", 0.6, TRY),
        Kind("model", ("backend", "model"), "auto", 9, WITH_MODEL),
        Kind("model-cpu", ("backend", "model"), "cpu", 3, WITH_MODEL),
    )
}


class Work:
    """One run: where it works, whom it tells, and its log. ``home`` is DAS_HOME."""

    def __init__(self, home: Path, tell: Tell):
        self.home = home
        self.folder = home / "backend"
        self.log = home / "logs" / "backend-install.log"
        self.tell = tell

    def run(self, label: str, command: list, cwd: Path) -> None:
        """Run one command, its output into the log and its progress told. InstallError with the log's end if it fails."""
        with open(self.log, "ab") as output:
            output.write(f"\n# {label}\n".encode())
            output.flush()
            start = output.tell()
            child = subprocess.Popen(
                [str(word) for word in command], cwd=cwd, env={**clean_environment(), "PYTHONUNBUFFERED": "1"},
                stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
            try:
                code = self._watch(child, label, start)
            finally:
                stop_tree(child)
        if code:
            raise InstallError(f"{label}: failed with code {code}. {last_line(self.log)}", f"All that was said is in {self.log}.")

    def _watch(self, child: subprocess.Popen, label: str, position: int) -> int:
        """The child's exit code; until then the bytes of the download that runs are told."""
        told = None
        with open(self.log, "rb") as log:
            log.seek(position)
            while (code := child.poll()) is None:
                found = PROGRESS.findall(log.read())
                if found and found[-1] != told:
                    told = found[-1]
                    self.tell("download", phase=label, step=int(told[0]), total=int(told[1]))
                time.sleep(LOOK_EVERY)
        return code


def install(source: Path, work: Work, kind: Kind, python: str = "", *, again: bool = False) -> Path:
    """An environment of this code and kind, registered; its folder. One that stands already is only taken, but not ``again``.

    ``python`` is the Python to make it from. InstallError, or any other end before the last line, leaves what was before.
    """
    start_log(work.log)
    with lock(work.folder):
        name = f"{version(source)}-{fingerprint(source)[:8]}"
        current = current_place(work)
        if not again and current and stands(current, name, kind):
            return current
        check_room(work.folder, kind)
        place = free_place(work, name)
        try:
            make(source, work, kind, choose_python(python), place, name)
            entry = {"room": "backend", "name": NAME, "python": str(python_in(place / "env")), "blender": None, "kind": kind.name}
            register([entry], work.home)
        except BaseException:  # also Ctrl-C
            if current_place(work) != place:
                work.tell("progress", phase="undoing", step=0, total=1)
                discard(place)
            raise
    return place


def start_log(log: Path) -> None:
    """A log of this run alone."""
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_bytes(b"")


def version(source: Path) -> str:
    return tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]


def fingerprint(source: Path) -> str:
    """Changes with any file that is copied."""
    digest = hashlib.sha256()
    for file in copied_files(source):
        digest.update(file.relative_to(source).as_posix().encode() + b"\0" + file.read_bytes() + b"\0")
    return digest.hexdigest()


def copied_files(source: Path) -> Iterator[Path]:
    """The files of the backend's code, in an order that is the same everywhere."""
    yield from (source / name for name in FILES)
    for folder in FOLDERS:
        files = (file for file in (source / folder).rglob("*") if file.is_file() and "__pycache__" not in file.parts)
        yield from sorted(files, key=lambda file: file.as_posix())


def current_place(work: Work) -> Path | None:
    """The folder of the environment that is registered; None where none is, or one that lies elsewhere."""
    for place in places(work):
        if registered_python(work) == python_in(place / "env"):
            return place
    return None


def registered_python(work: Work) -> Path | None:
    return next((Path(entry["python"]) for entry in known(work.home) if entry.get("name") == NAME), None)


def places(work: Work) -> list[Path]:
    """The folders that were made here; others' beside them have no stamp."""
    return sorted(place for place in work.folder.glob("*") if (place / STAMP).is_file() and not place.is_symlink())


def stands(place: Path, name: str, kind: Kind) -> bool:
    """Whether an environment is finished, of this code and kind, and its Python alive."""
    wanted = {"state": "ready", "code": name, "kind": kind.name}
    return read_stamp(place).items() >= wanted.items() and ask([str(python_in(place / "env"))]) is not None


def check_room(folder: Path, kind: Kind) -> None:
    """InstallError where the disk is too full, before anything is fetched."""
    free = shutil.disk_usage(folder).free / 1e9
    if free < kind.gigabytes:
        raise InstallError(f"{kind.gigabytes:.1f} GB are needed in {folder}, and {free:.1f} GB are free.", "Free some space, or set DAS_HOME.")


def free_place(work: Work, name: str) -> Path:
    """A folder that is not there yet: VERSION-HASH, or with a number behind it where that one is in use."""
    for number in range(1, 1000):
        place = work.folder / (name if number == 1 else f"{name}.{number}")
        if place in places(work) and read_stamp(place).get("state") == "making":
            discard(place)  # an interrupted one
        if not place.exists():
            return place
    raise InstallError(f"{work.folder} is full of environments.", "Delete those that you do not need.")


def choose_python(wanted: str) -> Interpreter:
    """The Python that is named, or the one that runs this, or one that is found. InstallError where none will do."""
    versions = ", ".join("{}.{}".format(*minor) for minor in sorted(PYTHONS))
    if wanted:
        named = ask([wanted])
        if named is None:
            raise InstallError(f"{wanted} is no Python that can make environments.", "Choose another one, or none.")
        if named.version[:2] not in PYTHONS:
            raise InstallError(f"{wanted} is Python {'.'.join(map(str, named.version))}, and one of {versions} is needed.", "Choose another one, or none.")
        return named
    found = find_any(PYTHONS)
    if found is None:
        raise InstallError(f"No Python {versions} was found that can make environments.", how_to_get(PYTHONS[0]))
    return found


def make(source: Path, work: Work, kind: Kind, interpreter: Interpreter, place: Path, name: str) -> None:
    """Fill a new folder, step by step; its stamp says ready at the end."""
    place.mkdir(parents=True)
    stamp = {
        "code": name, "version": version(source), "kind": kind.name, "place": str(place),
        "interpreter": str(interpreter.path), "python": ".".join(map(str, interpreter.version)),
    }  # fmt: skip
    write_json(place / STAMP, {"state": "making", **stamp})
    notes = []
    steps = commands(place, kind, interpreter, source)
    for number, step in enumerate(steps):
        work.tell("progress", phase=step.label, step=number, total=len(steps) + 1)
        notes += run_told(work, step, place)
    copy_code(source, place)
    work.tell("progress", phase="trying it", step=len(steps), total=len(steps) + 1)
    work.run("trying it", [python_in(place / "env"), "-c", kind.proof], place)
    write_json(place / STAMP, {"state": "ready", **stamp, "notes": notes})


def run_told(work: Work, step: Step, place: Path) -> list[str]:
    """One step, or what stands in for it; what is to be known of that. A machine that torch is not made for is told plainly."""
    try:
        work.run(step.label, step.command(), place)
        return []
    except InstallError as error:
        if NO_PACKAGE + MODEL.first in tail(work.log):
            raise InstallError(f"There is no {MODEL.first} for this kind of machine.", "Choose Projection only.") from error
        if step.otherwise is None:
            raise
    run_told(work, Step(step.label, step.otherwise), place)
    return [step.note]


def commands(place: Path, kind: Kind, interpreter: Interpreter, source: Path) -> list[Step]:
    """The steps in their order."""
    python = python_in(place / "env")

    def pip(*words: str) -> Callable[[], list]:
        # Of what is installed only a part is ever imported, so nothing is compiled before that.
        return lambda: [python, "-m", "pip", "install", "--disable-pip-version-check", "--no-compile", *progress_of(python), *words]

    torch = [Step("torch", pip(MODEL.first))] if kind.torch else []
    if kind.torch and uses_uv(kind.torch):
        by_uv = partial(uv_command, kind.torch, python, MODEL.first)
        torch = [Step("uv", pip("uv")), Step("torch", by_uv, pip(MODEL.first), WITHOUT_UV)]
    return [
        Step("environment", lambda: [interpreter.path, "-m", "venv", place / "env"]),
        *torch,
        Step("packages", pip(*requirements(source, kind.extras))),
        *([Step("depth", pip("--no-deps", *MODEL.alone))] if kind.torch else []),
    ]


def requirements(source: Path, extras: tuple[str, ...]) -> list[str]:
    """What pyproject.toml asks for."""
    project = tomllib.loads((source / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *(one for extra in extras for one in project["optional-dependencies"][extra])]


def progress_of(python: Path) -> list[str]:
    """The option by which pip tells how far a download is, where this pip has it."""
    said = subprocess.run([python, "-m", "pip", "--version"], capture_output=True, text=True, env=clean_environment(), timeout=120).stdout
    numbers = re.match(r"pip (\d+)\.(\d+)", said)
    return ["--progress-bar", "raw"] if numbers and tuple(map(int, numbers.groups())) >= RAW_PROGRESS else []


def copy_code(source: Path, place: Path) -> None:
    """The code, and the line by which the environment's Python finds it, wherever the whole folder lies."""
    code = place / "code"
    for file in copied_files(source):
        target = code / PACKAGE / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    (packages,) = (place / "env").glob("Lib/site-packages" if os.name == "nt" else "lib/python3*/site-packages")
    (packages / f"{PACKAGE}.pth").write_text(os.path.relpath(code, packages) + "\n", encoding="ascii")


def clean(work: Work) -> int:
    """Remove what is not in use any more; how many are left because a process still runs from them."""
    with lock(work.folder):
        current = current_place(work)
        old = [place for place in places(work) if place != current]
        return sum(not remove_unused(place) for place in old)


def remove_all(work: Work) -> int:
    """Take the environment out of environments.json and remove all that were made; how many a process still runs from.
    What is about to end, as the worker of a backend that was just stopped, is waited for."""
    start_log(work.log)
    end = time.monotonic() + SECONDS_TO_END
    with lock(work.folder):
        unregister(NAME, work.home)
        made = places(work)
        left = 0
        for number, place in enumerate(made):
            work.tell("progress", phase="removing", step=number, total=len(made))
            while runs_from(place) and time.monotonic() < end:
                time.sleep(LOOK_EVERY)
            left += not remove_unused(place)
        return left


def remove_unused(place: Path) -> bool:
    """Remove an environment that no process runs from; whether it is gone."""
    return not runs_from(place) and discard(place)


def discard(place: Path) -> bool:
    """Remove an environment of ours; what cannot be removed yet keeps its stamp, and goes the next time."""
    if not (place / STAMP).is_file():
        return not place.exists()
    try:
        write_json(place / STAMP, {**read_stamp(place), "state": "making"})
        remove(place)
    except OSError:  # Windows keeps the files of a process that is just ending
        return False
    return True


def runs_from(place: Path) -> bool:
    """Whether a process of this machine runs by the environment's Python, so that it may still read from it."""
    if sys.platform == "win32":
        return cannot_be_renamed(place)
    programs = place.resolve() / "env" / "bin"
    return any(Path(program).is_absolute() and Path(program).parent.resolve() == programs for program in running_programs())


def cannot_be_renamed(place: Path) -> bool:
    """So says Windows of a folder from which a program runs."""
    other = place.with_name(f"{place.name}.unused")
    try:
        place.rename(other)
        other.rename(place)
    except OSError:
        return True
    return False


def running_programs() -> list[str]:
    """What each process was started as."""
    if Path("/proc/self/cmdline").exists():
        return [program for file in Path("/proc").glob("[0-9]*/cmdline") if (program := first_word(file))]
    listed = subprocess.run(["ps", "-axo", "args="], capture_output=True, text=True, timeout=60)
    return [line.split(" -")[0].strip() for line in listed.stdout.splitlines()]


def first_word(file: Path) -> str:
    try:
        return os.fsdecode(file.read_bytes().split(b"\0")[0])
    except OSError:  # it has just ended
        return ""


def last_line(log: Path) -> str:
    """What was said last, an error before all."""
    lines = [line.strip() for line in tail(log, 40).splitlines() if line.strip() and not line.startswith(("#", "Progress"))]
    errors = [line for line in lines if line.startswith("ERROR") or "Error:" in line or line.startswith("error")]
    return (errors or lines or ["It has said nothing."])[-1]
