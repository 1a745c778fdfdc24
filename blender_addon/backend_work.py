"""What can be done to the backend and its models, a step at a time; each is given to ``upkeep``."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import bpy
import msgspec
from bpy.app.translations import pgettext_iface as iface_

from ..shared import backend_process, home, wire
from ..shared.client import connecting
from ..shared.errors import BackendError, Cancelled, DasError, UsageError
from ..shared.generation import reach_backend
from ..shared.model_entries import Entries
from .child_process import ChildProcess
from .queue_view import queue
from .stepwise import Stepwise
from .upkeep import install_log, last_lines, upkeep

INSTALLER = Path(__file__).resolve().parents[1] / "install" / "managed_backend.py"
SECONDS_TO_UNDO = 120.0
SECONDS_BETWEEN_LOGS = 0.5
SECONDS_BEFORE_CLEANING = 20.0
MEGABYTE = 1_000_000


class ProgramWork(Stepwise):
    """A program of ours that tells JSON lines: its progress is shown, its error raised, its result given to ``done``.

    One that ``undoes`` what it has begun is asked to by closing its input; others are just ended.
    """

    undoes = False

    def __init__(self, what: str, command: Sequence, environment: Mapping[str, str] | None = None):
        self.what = what
        self.result: dict = {}
        self._command, self._environment = command, environment or {}
        self._error: DasError | None = None
        self._said, self._looked = "", 0.0
        super().__init__(lambda step: None)

    def done(self) -> None:
        """What follows from ``result``."""

    def _run(self) -> Iterator[None]:
        try:
            child = ChildProcess(self._command, self._environment)
        except OSError as error:
            raise BackendError(f"{self._command[0]} cannot be run: {error.strerror}.", "Repair the backend.") from None
        with closing(child):
            code = yield from self._follow(child)
        if code and self._stop:
            raise Cancelled(self.stopped)
        if code:
            raise self._error or DasError(f"The {self.what} has failed with code {code}: {self._said}", "See the log.")
        self.done()

    @property
    def stopped(self) -> str:
        """What is said after a cancel."""
        return iface_("The {} was cancelled.").format(iface_(self.what))

    def _follow(self, child: ChildProcess) -> Iterator[None]:
        """Hear it until it ends; its exit code."""
        deadline = None
        try:
            while (code := child.poll()) is None:
                self._hear_all(child)
                if self._stop and deadline is None:
                    deadline = time.monotonic() + SECONDS_TO_UNDO
                    child.close_input() if self.undoes else child.terminate()
                if deadline and time.monotonic() > deadline:
                    child.terminate()
                yield
        finally:  # also where Blender quits: nobody waits for it then
            if child.poll() is None and not self.undoes:
                child.terminate()
        self._hear_all(child)
        return code

    def _hear_all(self, child: ChildProcess) -> None:
        for event in child.events():
            self._hear(event)

    def _hear(self, event: dict) -> None:
        match event:
            case {"event": "progress" | "download", "phase": phase, "step": step, "total": total}:
                self._report(phase, step, total, event.get("eta"))
            case {"event": "error", "message": message, "fix": fix}:
                self._error = DasError(message, fix)
            case {"event": "note", "message": message}:
                upkeep.log = [*upkeep.log, message][-4:]
            case {"event": "result"}:
                self.result = event
            case {"text": text}:
                self._said = text


class InstallerWork(ProgramWork):
    """install/managed_backend.py in Blender's own Python, which needs nothing else. Stopped, it undoes what it has done."""

    undoes = True

    def __init__(self, what: str, *words: str | Path):
        command = [sys.executable, INSTALLER, *words, "--home", home.home(), "--attached"]
        super().__init__(what, command)

    def _hear_all(self, child: ChildProcess) -> None:
        super()._hear_all(child)
        if time.monotonic() - self._looked > SECONDS_BETWEEN_LOGS:
            self._looked = time.monotonic()
            upkeep.log = last_lines(install_log())

    def _hear(self, event: dict) -> None:
        super()._hear(event)
        if event.get("event") == "download":
            self._report(iface_("{}, MB").format(iface_(event["phase"])), event["step"] // MEGABYTE, event["total"] // MEGABYTE)

    def _left(self) -> str:
        count = self.result.get("left", 0)
        return " " + iface_("The former one is removed once nothing runs from it.") if count else ""


class Installation(InstallerWork):
    """Install, update, or with ``again`` repair: always a new environment, and the old one until it stands."""

    def __init__(self, kind: str, python: str = "", again: bool = False):
        words = ["install", "--kind", kind, *(["--python", python] if python else []), *(["--again"] if again else [])]
        super().__init__("installation", *words)

    @property
    def stopped(self) -> str:
        return "The installation was cancelled, and everything is as it was before."

    @property
    def ready(self) -> str:
        running = backend_process.find_backend() and self.result.get("left")
        notes = "".join(f" {note}" for note in self.result.get("notes", []))
        return iface_("The backend is installed.") + (" " + iface_("Restart it to use it.") if running else self._left()) + notes


class Removal(InstallerWork):
    """Stop the backend, and remove what was installed."""

    def __init__(self):
        super().__init__("removal", "remove")

    def _run(self) -> Iterator[None]:
        if home.chosen_connection() is None:  # another machine's is not ours to stop
            yield from stop(self)
        yield from super()._run()

    @property
    def ready(self) -> str:
        return iface_("The backend is removed.") + self._left()


class Cleaning(InstallerWork):
    """Remove former environments that nothing runs from any more."""

    def __init__(self):
        super().__init__("cleaning", "clean")

    @property
    def ready(self) -> str:
        return ""


class Stopping(Stepwise):
    """Stop the backend, and with ``again`` start it anew; then former environments are removed."""

    what = "backend"

    def __init__(self, again: bool = False):
        self._again = again
        self._engines: list[str] = []
        super().__init__(lambda step: None)

    @property
    def ready(self) -> str:
        if not self._again:
            return "The backend is stopped; it starts by itself when it is needed."
        return iface_("The backend runs, with {}.").format(", ".join(self._engines))

    def _run(self) -> Iterator[None]:
        yield from stop(self)
        if home.known_environments():
            cleaning = Cleaning()
            with closing(cleaning):
                while cleaning.step():
                    yield
        if self._again:
            self._engines = yield from greet(self, reach_backend("Preferences"))


class Starting(Stopping):
    """Start the backend, or reach the one that runs, also on another machine."""

    def __init__(self):
        super().__init__(again=True)

    def _run(self) -> Iterator[None]:
        self._engines = yield from greet(self, reach_backend("Preferences"))


class Connecting(Stepwise):
    """Try a connection file, and give it to ``take`` when the backend that it names has answered."""

    what = "connection"

    def __init__(self, file: Path, take: Callable[[str], None]):
        self._file, self._take = file, take
        self._engines: list[str] = []
        super().__init__(lambda step: None)

    @property
    def ready(self) -> str:
        return iface_("Connected with {}.").format(", ".join(self._engines))

    def _run(self) -> Iterator[None]:
        connection = wire.read_connection(self._file)
        if connection is None:
            raise UsageError(f"{self._file} is no connection file.", "Choose a copy of the one that das serve writes on the backend's machine.")
        self._engines = yield from greet(self, connecting(connection, "Preferences"))
        self._take(str(self._file))


def stop(work: Stepwise) -> Iterator[None]:
    """Stop the backend that runs, our own connection first."""
    work._report("stopping the backend", 0, 1)
    queue.close()
    yield from backend_process.stopping()


def greet(work: Stepwise, clients: Iterator) -> Iterator[None]:
    """Wait for a backend's welcome; the names of its engines."""
    work._report("waiting for the backend", 0, 1)
    with closing(clients):
        for client in clients:
            work._check_stop()
            if client is None:
                yield
                continue
            with client:
                return [engine.name for engine in client.engines if engine.available]


class ModelWork(ProgramWork):
    """`das models ACTION [NAME]` in the backend's Python; then what is on this machine is listed."""

    def __init__(self, action: str, name: str = "", token: str = ""):
        self.action, self.name = action, name
        words = ["models", action, *([name] if name else []), "--json"]
        super().__init__("download" if action == "pull" else action, [backend_python(), "-m", "diffusion_as_shader", *words], hub_environment(token))

    @property
    def stopped(self) -> str:
        if self.action != "pull":
            return super().stopped
        return iface_("The download of {} pauses, and goes on where it is.").format(self.name)

    @property
    def ready(self) -> str:
        said = {"pull": "{} is here, and every file has the hash that the hub states.", "verify": "{} is whole.", "remove": "{} is removed."}
        return iface_(said[self.action]).format(self.name) if self.action in said else ""

    @property
    def cancel_word(self) -> str:
        """What is on the button that ends it early."""
        return "Pause" if self.action == "pull" else "Cancel"

    def _run(self) -> Iterator[None]:
        ended = None
        try:
            yield from super()._run()
        except DasError as error:  # what has arrived until then is listed too
            ended = error
        if self.action in ("pull", "remove"):
            with closing(ModelWork("list")) as listing:
                while listing.step():
                    yield
        if ended:
            raise ended

    def done(self) -> None:
        if self.action == "list":
            upkeep.models = msgspec.convert(self.result, Entries, strict=False)


def leftovers() -> bool:
    """Whether more than one environment lies here: an update has left the one that a backend ran from."""
    return len(list((home.home() / "backend").glob("*/das-environment.json"))) > 1


def clean_later() -> None:
    """A while after Blender has started, remove what nothing runs from any more, where there is such a thing."""
    if leftovers() and not upkeep.running:
        upkeep.start(Cleaning())


def register() -> None:
    if not bpy.app.background:
        bpy.app.timers.register(clean_later, first_interval=SECONDS_BEFORE_CLEANING, persistent=True)


def unregister() -> None:
    if bpy.app.timers.is_registered(clean_later):
        bpy.app.timers.unregister(clean_later)
    upkeep.close()


def backend_python() -> str:
    """The backend's Python. BackendError where none is installed."""
    known = home.environments("backend")
    if not known:
        raise BackendError("No backend is installed.", "Install it in the add-on's preferences first.", "install_backend")
    return known[0].python


def hub_environment(token: str = "") -> dict[str, str]:
    """What the hub's program is told: the user's key, and Blender's wish to stay off the network."""
    return {**({"HF_TOKEN": token} if token else {}), **({} if bpy.app.online_access else {"HF_HUB_OFFLINE": "1"})}


def check_online(what: str) -> None:
    """UsageError where Blender's own setting says no."""
    if not bpy.app.online_access:
        raise UsageError(f"Blender may not go online, and {what} needs to.", "Allow Online Access in Preferences, System, Network.", "allow_online")
