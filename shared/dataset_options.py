"""The command line's options of datasets."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from .request import Fit
from .task_options import add_depth_options, add_transfer_options


def add_dataset_commands(actions, blender: argparse.ArgumentParser, everywhere: argparse.ArgumentParser) -> None:
    """The actions of `das dataset`, into its sub-parsers."""

    def add(name: str, help: str | None, *parents: argparse.ArgumentParser) -> argparse.ArgumentParser:
        said = {"help": help} if help else {}  # without, it is not listed
        return actions.add_parser(name, description=help, parents=[everywhere, *parents], **said)

    _add_blender(add("blender", "Make training clips of Blender scenes, or of characters, motions and worlds.", blender))
    _add_clips(add("clips", None, blender))
    _add_video(add("video", "Make training clips of real videos, by tracking points in them."))
    for name, help in {
        "check": "Say what is wrong with a dataset, with file and line.",
        "stats": "Say how much is followed in a dataset's clips, and how far it moves.",
        "preview": "Draw a contact sheet of a dataset's first clips.",
    }.items():
        action = add(name, help)
        action.add_argument("root", type=Path, metavar="FOLDER", help="the dataset")
        if name == "preview":
            action.add_argument("-o", dest="output", type=Path, metavar="FILE", help="a PNG (default: preview.png in the dataset)")
            action.add_argument("--count", type=int, default=12, metavar="N", help="how many clips (default: %(default)s)")


def _add_blender(command: argparse.ArgumentParser) -> None:
    command.add_argument("files", nargs="*", type=Path, metavar="FILE", help=".blend files, each a scene")
    command.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="the dataset; one that was begun goes on")
    command.add_argument("--clips", type=int, default=1, metavar="N", help="how many clips the dataset has in the end (default: %(default)s)")
    command.add_argument("--seed", type=int, default=0, metavar="N", help="the same seed makes the same clips (default: %(default)s)")

    group = command.add_argument_group("instead of scenes")
    group.add_argument("--characters", type=Path, metavar="FOLDER", help="FBX, glTF or .blend files, each a character")
    group.add_argument("--motions", type=Path, metavar="FOLDER", help="FBX, glTF or .blend files with actions (default: the characters' own)")
    group.add_argument("--worlds", type=Path, metavar="FOLDER", help=".blend sets or panoramas (default: a blank room)")

    group = command.add_argument_group("clips")
    _add_size(group, "camera's view")
    group.add_argument("--frames", metavar="A:B", help="the scene frames to choose from (default: the scene's range)")
    group.add_argument("--step", type=float, default=1.0, metavar="S", help="scene frames between two of a clip (default: %(default)s)")
    group.add_argument("--render", default="render", metavar="SOURCE", help="render (the scene's engine), workbench, cycles, render:SAMPLES or cycles:SAMPLES")
    group.add_argument("--vary", metavar="LIST", help="what differs, by commas, of camera, range, lights, background, colours; or none (default: all but colours)")
    group.add_argument("--prompt", metavar="TEMPLATE", help="with {scene}, {character}, {motion}, {world}, {camera}, {background}")
    group.add_argument("--licence", default="", metavar="TEXT", help="of sources whose FILE.json does not say theirs")
    group.add_argument("--points", default="50x50", metavar="GRID", help="what the true tracks follow (default: %(default)s)")

    group = command.add_argument_group("work")
    group.add_argument("--jobs", type=int, metavar="N", help="how many Blenders at a time (default: one for two cores)")
    group.add_argument("--clips-per-process", type=int, default=20, metavar="N", help="a Blender is started anew after so many (default: %(default)s)")


def _add_video(command: argparse.ArgumentParser) -> None:
    command.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="videos, folders of them, or .txt files with a path a line")
    command.add_argument("-o", dest="output", type=Path, required=True, metavar="FOLDER", help="the dataset; one that was begun goes on")
    group = command.add_argument_group("clips")
    _add_size(group, "picture")
    group.add_argument("--frames", metavar="A:B", help="frames of each video to take the clip's from, evenly (default: all)")
    group.add_argument("--prompt", default="{video}", metavar="TEMPLATE", help="what the clips show; {video} is the file's name in words (default: %(default)s)")
    group.add_argument("--prompts", type=Path, metavar="FILE", help="a line a video, or a CSV with the columns video, prompt and, if known, licence, source")
    group.add_argument("--licence", default="", metavar="TEXT", help="of videos whose FILE.json or CSV does not say theirs")
    group.add_argument("--source", default="", metavar="TEXT", help="where they are from: a person, an address")
    add_transfer_options(command, ("FOLDER", "tracks of another program: a file NAME.npz for each video NAME.mp4; or the one file of one video"))
    add_depth_options(command)


def _add_size(group, what: str) -> None:
    group.add_argument("--count", type=int, default=49, metavar="N", help="frames of a clip, 8N+1 (default: %(default)s)")
    group.add_argument("--size", default="720x480", metavar="WxH", help="pixels, multiples of 16 (default: %(default)s)")
    group.add_argument("--fit", choices=get_args(Fit), default="crop", help=f"crop the {what} to the size, or pad it")


def _add_clips(command: argparse.ArgumentParser) -> None:
    """Not for people: what each of the parallel Blenders is started with."""
    command.add_argument("root", type=Path)
    command.add_argument("numbers", type=int, nargs="+")
