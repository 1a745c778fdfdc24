"""The command line's parser: every command with its options, the same in every room."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from .batch_options import add_batch_command
from .camera_files import FORMATS
from .camera_motion import Order
from .dataset_options import add_dataset_commands
from .errors import UsageError
from .farm.options import add_farm_command
from .options import add_capture_options, add_generation_options, add_resume_option, add_scene_options, add_score_options, add_write_options
from .task_options import add_repaint_options, add_task_commands
from .train_options import add_train_commands


class Parser(argparse.ArgumentParser):
    """argparse whose errors are ours."""

    def error(self, message: str):
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"See {self.prog} --help.")


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
