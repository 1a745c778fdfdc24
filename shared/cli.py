"""The command `das`: one parser, one table *command -> room*, and the way into the other room.

A room is a Python that can do something: Blender's has bpy, the backend's has imageio. A command runs where it
was called if that room serves it, and otherwise again in a Python of the right room (environments.json).
Each room has a package ``commands`` with a module a command, whose ``run(args, reporter)`` returns the exit code.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import os
import signal
import subprocess
import sys
import traceback
from contextlib import suppress
from typing import NamedTuple, NoReturn

from . import home
from .child import end_with_parent
from .command_line import parser
from .errors import Cancelled, DasError, UsageError
from .home import Room
from .interrupt import interrupt_postponed
from .processes import end_process
from .report import JsonReporter, Reporter, debugging, part_from_blender

PACKAGES: dict[Room, str] = {"blender": "..blender_addon.commands", "backend": "..backend.commands"}
MARKS: dict[Room, str] = {"blender": "bpy", "backend": "imageio"}
RUN_AGAIN = "DAS_RUN_AGAIN"


class Place(NamedTuple):
    """The rooms that serve a command, preferred first, the module that does it there, and a library that not all such rooms have."""

    rooms: tuple[Room, ...]
    module: str
    library: str | None = None


PLACES: dict[str, Place] = {
    "track": Place(("blender",), "track"),
    "check": Place(("blender",), "check"),
    "camera": Place(("blender",), "camera"),
    "generate": Place(("blender",), "generate"),
    "generate take": Place(("backend", "blender"), "generate"),
    "generate tracking": Place(("backend",), "generate"),
    "benchmark tracking": Place(("blender",), "benchmark_tracking"),
    "benchmark projection": Place(("blender",), "benchmark_projection"),
    "benchmark points": Place(("backend",), "benchmark_points"),
    "benchmark tracks": Place(("blender",), "benchmark_tracks"),
    "benchmark tracks take": Place(("backend",), "benchmark_tracks"),
    "benchmark score": Place(("blender",), "benchmark_score"),
    "benchmark score take": Place(("backend",), "benchmark_score"),
    "benchmark das": Place(("backend",), "benchmark_das", "torch"),
    "score": Place(("backend", "blender"), "score"),
    "serve": Place(("backend",), "serve"),
    "doctor": Place(("backend", "blender"), "doctor"),
    "camera-control": Place(("backend",), "task"),
    "camera-control scene": Place(("blender",), "camera_control"),
    "object-manipulation": Place(("backend",), "task"),
    "object-manipulation scene": Place(("blender",), "object_manipulation"),
    "motion-transfer": Place(("backend",), "task"),
    "repaint": Place(("backend",), "repaint"),
    "encode": Place(("backend",), "encode"),
    "batch": Place(("backend", "blender"), "batch"),
    "dataset": Place(("backend",), "dataset"),
    "dataset blender": Place(("blender",), "dataset"),
    "dataset video": Place(("backend",), "dataset_video"),
    "dataset clips": Place(("blender",), "dataset_clips"),
    "models": Place(("backend",), "models", "torch"),
    "models without torch": Place(("backend",), "models"),
    "farm": Place(("backend", "blender"), "farm"),
    "demo": Place(("blender",), "demo"),
    "train": Place(("backend",), "train", "torch"),
    "export": Place(("backend",), "export", "torch"),
}


def main(argv: list[str] | None = None) -> int:
    """Run one command; its exit code. Inside Blender ``argv`` is what followed ``--command das``."""
    argv = sys.argv[1:] if argv is None else list(argv)
    reporter = (JsonReporter if "--json" in argv else Reporter)(sys.stdout, sys.stderr)
    # Blender leaves SIGINT to C code under --command, which loses the first Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    end_with_parent()
    try:
        return run(argv, reporter)
    except DasError as error:
        return _give_up(reporter, error)
    except KeyboardInterrupt:
        return _give_up(reporter, Cancelled("Cancelled."))
    except SystemExit as end:  # argparse has printed the help
        return end.code or 0
    except Exception as error:  # a defect of ours: told in the same form, with its traceback in the log
        return _give_up(reporter, _unexpected(error))


def console() -> NoReturn:
    """The program `das`: one command, and the end of the process."""
    end_process(main())


def run(argv: list[str], reporter: Reporter) -> int:
    """Parse, find the room, and run the command there."""
    args = parser().parse_args(argv)
    if args.command != "serve" and getattr(args, "connection", None):
        os.environ["DAS_CONNECTION"] = str(args.connection.resolve())
    again = os.environ.pop(RUN_AGAIN, None)
    place = PLACES[command_key(args)]
    here = [room for room in place.rooms if room in rooms_here()] if _has(place.library) else []
    if not here or _other_blender_wanted(args, here[0]):
        if again:
            raise _cannot_serve(place)
        return run_again(argv, place.rooms[0], getattr(args, "blender", None))
    if here[0] == "blender":
        part_from_blender(reporter, home.log_folder() / "blender.log")
    with interrupt_postponed():
        module = importlib.import_module(f"{PACKAGES[here[0]]}.{place.module}", __package__)
    return module.run(args, reporter)


def _cannot_serve(place: Place) -> UsageError:
    if place.library and not _has(place.library):
        return UsageError("This command needs the model's environment.", "Install the backend with the model in the add-on's preferences, or run python3 install/run.py setup --model.")
    return UsageError(
        f"{sys.executable} was started as the {place.rooms[0]} environment and cannot serve it.",
        "Make the environments again with python3 install/run.py setup.",
    )


def _has(library: str | None) -> bool:
    return library is None or importlib.util.find_spec(library) is not None


def rooms_here() -> list[Room]:
    """The rooms that this Python can serve."""
    return [room for room, module in MARKS.items() if importlib.util.find_spec(module) is not None]


def command_key(args: argparse.Namespace) -> str:
    """The entry of PLACES that parsed arguments ask for."""
    if args.command == "benchmark":
        a_take = args.what in ("tracks", "score") and args.file and args.file.is_dir()
        return f"benchmark {args.what}" + (" take" if a_take else "")
    if args.command == "models" and args.action in ("list", "path", "remove") and not _model_is_first():
        return "models without torch"
    if args.command == "dataset":
        return f"dataset {args.action}" if args.action in ("blender", "clips", "video") else "dataset"
    if args.command in ("camera-control", "object-manipulation") and args.target.suffix.lower() == ".blend":
        return f"{args.command} scene"
    if args.command != "generate":
        return args.command
    if args.tracking:
        return "generate tracking"
    return "generate take" if args.target and args.target.is_dir() else "generate"


def _model_is_first() -> bool:
    """The backend's Python that a command is run again in is one with the model, which knows more of what is missing."""
    return [entry.name for entry in home.environments("backend")[:1]] == [home.MODEL_ENVIRONMENT]


def run_again(argv: list[str], room: Room, blender: str | None) -> int:
    """The same command in a Python of another room, which gets our streams, our signals and gives our exit code."""
    command = command_in(argv, room, blender)
    python = command[0]
    sys.stdout.flush()
    try:
        if os.name == "posix":
            os.execve(python, command, {**os.environ, RUN_AGAIN: "1"})
        # Windows has no exec: Ctrl-C reaches the child through the console, and we only wait for it.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        return subprocess.run(command, env={**os.environ, RUN_AGAIN: "1"}).returncode
    except OSError as error:
        raise UsageError(
            f"{python} cannot be run: {error.strerror}.", "Make the environments again with python3 install/run.py setup."
        ) from None


def command_in(argv: list[str], room: Room, blender: str | None = None) -> list[str]:
    """The command line of ``das ARGV`` in a Python that serves a room. UsageError with the fix if there is none."""
    return [find_environment(room, blender).python, "-m", __package__.rpartition(".")[0].rpartition(".")[2], *argv]


def find_environment(room: Room, blender: str | None = None) -> home.Environment:
    """The Python that serves a room: of a wanted Blender, or of the newest. UsageError with the fix if none does."""
    known = home.environments(room)
    wanted = [entry for entry in known if not blender or _is_version(entry.blender, blender)]
    if wanted:
        return max(wanted, key=lambda entry: _numbers(entry.blender))
    if known:
        versions = ", ".join(entry.blender or "?" for entry in known)
        raise UsageError(f"There is no Blender {blender} here, only {versions}.", "Choose one of these with --blender.")
    name = {"blender": "Blender's Python", "backend": "the backend's Python"}[room]
    raise UsageError(
        f"This command needs {name}, and {home.environments_file()} knows none.",
        "Install it in the add-on's preferences, or run python3 install/run.py setup in the project's folder.",
    )


def _other_blender_wanted(args: argparse.Namespace, here: Room) -> bool:
    wanted = getattr(args, "blender", None)
    if here != "blender" or not wanted:
        return False
    return not _is_version(_blender_here(), wanted)


def _blender_here() -> str:
    """This Blender's version, without starting Blender's module: that takes a second and prints."""
    if "bpy" not in sys.modules:
        with suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version("bpy")
    import bpy

    return bpy.app.version_string


def _is_version(version: str | None, wanted: str) -> bool:
    numbers = _numbers(wanted)
    if not numbers:
        raise UsageError(f"'{wanted}' is no Blender version.", "Give it as numbers, for example --blender 4.5.")
    return _numbers(version)[: len(numbers)] == numbers


def _numbers(version: str | None) -> list[int]:
    """'4.5.15 LTS' to [4, 5, 15]."""
    parts = (version or "").split(" ")[0].split(".")
    return [int(part) for part in parts if part.isdigit()]


def _give_up(reporter: Reporter, error: DasError) -> int:
    if debugging():
        traceback.print_exc()
    reporter.error(error)
    return error.exit_code


def _unexpected(error: Exception) -> DasError:
    log = home.log_folder() / "das-error.log"
    fix = "Set DAS_DEBUG=1 to see where, and report it."
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(traceback.format_exception(error)), encoding="utf-8")
        fix = f"Please report it with {log}."
    except OSError:
        pass  # the fix above stands where there is no place for a log
    return DasError(f"das met an error of its own: {type(error).__name__}: {error}.", fix)
