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
from pathlib import Path
from typing import NamedTuple, NoReturn, get_args

from . import home
from .batch_options import add_batch_command
from .camera_files import FORMATS
from .camera_motion import Order
from .child import end_with_parent
from .dataset_options import add_dataset_commands
from .errors import Cancelled, DasError, UsageError
from .farm.options import add_farm_command
from .home import Room
from .interrupt import interrupt_postponed
from .options import add_capture_options, add_generation_options, add_resume_option, add_scene_options, add_score_options, add_write_options
from .processes import end_process
from .report import JsonReporter, Reporter, debugging, part_from_blender
from .task_options import add_repaint_options, add_task_commands
from .train_options import add_train_commands

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
    "dataset clips": Place(("blender",), "dataset_clips"),
    "models": Place(("backend",), "models", "torch"),
    "models without torch": Place(("backend",), "models"),
    "farm": Place(("backend", "blender"), "farm"),
    "demo": Place(("blender",), "demo"),
    "train": Place(("backend",), "train", "torch"),
    "export": Place(("backend",), "export", "torch"),
}


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours."""

    def error(self, message: str):
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"See {self.prog} --help.")


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
        return f"dataset {args.action}" if args.action in ("blender", "clips") else "dataset"
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


def parser() -> Parser:
    """All commands with their options, the same in every room."""
    whole = Parser(prog="das", description="Diffusion as Shader for Blender: mesh to video.")
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND", parser_class=Parser)
    everywhere = argparse.ArgumentParser(add_help=False)
    everywhere.add_argument("--json", action="store_true", help="one JSON object a line on standard output")
    blender = argparse.ArgumentParser(add_help=False)
    blender.add_argument("--blender", metavar="VERSION", help="which Blender, for example 4.5 (default: the newest)")
    blender.add_argument(
        "--scripts", action="store_true", help="run the file's Python drivers and scripts (default: off, as in Blender)"
    )

    def add(name: str, help: str, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=help, parents=[everywhere, *parents])

    _add_scene_commands(add, blender)
    add_batch_command(add, blender)
    for command in add_task_commands(add, blender):
        add_generation_options(command)
    _add_backend_commands(add, blender, everywhere)
    add_farm_command(add, everywhere, Parser)
    add_train_commands(add)
    return whole


def _add_scene_commands(add, blender: argparse.ArgumentParser) -> None:
    track = add("track", "Draw the tracking video, first frame and camera path of a scene into a take.", blender)
    _add_scene_file(track)
    track.add_argument("-o", dest="output", type=Path, metavar="TAKE", help="a new folder (default: beside the file)")
    add_resume_option(track)
    add_scene_options(track)
    add_capture_options(track)
    add_write_options(track)
    add_repaint_options(track)
    add_generation_options(track)
    track.add_argument("--check", action="store_true", help="das check first; what blocks the shot ends it")

    check = add("check", "Say whether a shot can work, before an hour of GPU is spent on it.", blender)
    _add_scene_file(check)
    check.add_argument("--strict", action="store_true", help="warnings block too")
    check.add_argument(
        "--with-first-frame", action="store_true", help="render the first frame and compare its edges (an image file always is)"
    )
    add_scene_options(check)
    add_capture_options(check)

    _add_camera(add("camera", "Write a scene's camera path; or bring a path, or a motion, into the scene as a new camera.", blender))

    generate = add("generate", "Make the video of a scene, of a take, or of a tracking video.", blender)
    generate.add_argument("target", nargs="?", type=Path, metavar="FILE|TAKE", help="a .blend file or a take folder")
    generate.add_argument("--tracking", type=Path, metavar="VIDEO|FOLDER", help="a tracking video made elsewhere")
    generate.add_argument("-o", dest="output", type=Path, metavar="TAKE", help="a new folder (default: beside the file)")
    add_resume_option(generate)
    add_scene_options(generate)
    add_capture_options(generate)
    add_write_options(generate)
    add_repaint_options(generate)
    add_generation_options(generate)
    add_score_options(generate)

    demo = add("demo", "Run the whole path on the example scene.", blender)
    demo.add_argument("--scene", type=Path, metavar="FILE", help="a .blend file instead of the example scene")
    demo.add_argument("-o", dest="output", type=Path, metavar="FOLDER", help="where to put it all")
    add_capture_options(demo)
    add_write_options(demo)
    add_generation_options(demo)


def _add_camera(camera: argparse.ArgumentParser) -> None:
    _add_scene_file(camera)
    camera.add_argument("-o", dest="output", type=Path, metavar="FILE", help="a path file, or a .blend (default: beside the file)")
    camera.add_argument("--format", metavar="NAME", help=f"{', '.join(FORMATS)} (default: by the name, else json)")
    source = camera.add_mutually_exclusive_group()
    source.add_argument("--import", dest="import_path", type=Path, metavar="PATH", help="a path file that becomes a new camera")
    source.add_argument("--motion", metavar="TEXT", help="a motion onto the camera, for example 'trans 0 0 -1; rot y 15'")
    camera.add_argument("--order", choices=get_args(Order), help="how the motion's segments follow each other (default: sequence)")
    camera.add_argument("--set-render-size", action="store_true", help="the scene takes the imported path's size and pixel aspect")
    add_capture_options(camera)


def _add_backend_commands(add, blender: argparse.ArgumentParser, everywhere: argparse.ArgumentParser) -> None:
    benchmark = add("benchmark", "Measure speed or quality on this machine.", blender)
    benchmark.add_argument("what", choices=("tracking", "projection", "points", "tracks", "score", "das"))
    benchmark.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a .blend file (default: the example); for tracks and score also what they made of it")
    benchmark.add_argument("-o", dest="output", type=Path, metavar="FOLDER", help="where to put pictures")
    model = benchmark.add_argument_group("benchmark das", "--size full, the default with a card, or --size tiny")
    model.add_argument("--weights", metavar="FOLDER|ID", help="these weights (default: random ones)")
    model.add_argument("--steps", type=int, metavar="N", help="how many denoising steps to measure (default: 6)")
    add_capture_options(benchmark)

    serve = add("serve", "Run the backend in the foreground.")
    serve.add_argument("--connection", type=Path, metavar="FILE", help="where to write the connection file")
    serve.add_argument("--host", default="127.0.0.1", help="the address to listen on (default: %(default)s)")
    serve.add_argument("--workers", type=int, metavar="N", help="how many jobs run at once on each machine (default: one a card, or one)")
    serve.add_argument("--cluster", metavar="auto|ADDRESS", help="run jobs on a Ray cluster: this machine's, or the one at ADDRESS")
    serve.add_argument("--worker-memory", type=float, metavar="GB", help="main memory that each worker of a cluster is given")

    add("doctor", "Say what is installed, what works and what does not.").add_argument(
        "--here", action="store_true", help="only what this Python itself can say"
    )
    _add_models(add("models", "Weights of the model: list, pull, verify, path, remove, tiny."), everywhere)
    _add_dataset(add, blender, everywhere)
    score = add("score", "Say how well finished takes keep to their scene's motion, and rank them.")
    score.add_argument("takes", type=Path, nargs="+", metavar="TAKE")
    encode = add("encode", "Write a take's tracking and frames as lossless video.")
    encode.add_argument("take", type=Path, metavar="TAKE")
    encode.add_argument(
        "--codec", choices=("ffv1", "h264"), default="ffv1", help="FFV1 in .mkv, or H.264 RGB in .mp4 (default: %(default)s)"
    )


def _add_models(models: argparse.ArgumentParser, everywhere: argparse.ArgumentParser) -> None:
    actions = models.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser)

    def add(name: str, help: str) -> argparse.ArgumentParser:
        return actions.add_parser(name, help=help, description=help, parents=[everywhere])

    add("list", "Which weights are known, which are here, and their licences.")
    for name, help in {
        "pull": "Fetch weights from the Hugging Face hub, from where the last time stopped.",
        "verify": "Check weights: every file's hash, every component's names and shapes.",
        "path": "Say where weights lie.",
        "remove": "Delete what pull has fetched, and nothing else.",
    }.items():
        action = add(name, help)
        action.add_argument("source", nargs=None if name == "remove" else "?", default="", metavar="ID|FOLDER", help="default: the published weights")
        action.add_argument("--revision", metavar="NAME", help="a branch, tag or commit (default: main); the same as ID@NAME")
        if name == "verify":
            action.add_argument("--from-base", action="store_true", help="they are a base model, which gets a new tracking branch")
    tiny = add("tiny", "Write a tiny random checkpoint, to try every path with.")
    tiny.add_argument("folder", type=Path, metavar="FOLDER", help="a new folder")
    tiny.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed gives the same weights (default: 0)")


def _add_dataset(add, blender: argparse.ArgumentParser, everywhere: argparse.ArgumentParser) -> None:
    dataset = add("dataset", "Clips to train on: made by Blender, looked at, checked.")
    add_dataset_commands(dataset.add_subparsers(dest="action", required=True, metavar="ACTION", parser_class=Parser), blender, everywhere)


def _add_scene_file(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", nargs="?", type=Path, metavar="FILE", help="a .blend file (inside Blender: the open one)")
