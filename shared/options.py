"""The command line's options of a request, and how they change one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import msgspec

from .errors import UsageError
from .request import FirstFrame, Fit, GenerationRequest, Hidden, Percentiles, check


def add_capture_options(command: argparse.ArgumentParser) -> None:
    """What is captured, and through which window. Each default is None: the scene's, or the request's own."""
    group = command.add_argument_group("capture")
    group.add_argument("--frames", metavar="A:B", help="scene frames, inclusive (negative ones: --frames=-5:20)")
    group.add_argument("--count", type=int, metavar="N", help="how many frames to make, 8N+1 (default: 49)")
    group.add_argument("--size", metavar="WxH", help="the window in pixels (default: 720x480)")
    group.add_argument("--fit", choices=get_args(Fit), help="crop the camera's view to the window, or pad it")
    group.add_argument("--hidden", choices=get_args(Hidden), help="colour of surface hidden in the first frame")
    group.add_argument("--percentiles", choices=get_args(Percentiles), help="what the depth colour is scaled by")
    group.add_argument(
        "--first-frame", metavar="SOURCE", help="render (the scene's look), workbench, cycles, render:SAMPLES, cycles:SAMPLES or an image"
    )


def add_generation_options(command: argparse.ArgumentParser) -> None:
    """What is made of the tracking video."""
    group = command.add_argument_group("generation")
    group.add_argument("--engine", metavar="NAME", help="projection (default: needs no weights), or das")
    group.add_argument("--prompt", metavar="TEXT", help="what the video shows")
    group.add_argument("--negative-prompt", metavar="TEXT", help="what it must not show")
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same video")


def changed(request: GenerationRequest, args: argparse.Namespace) -> GenerationRequest:
    """The request with the options that were given, checked."""
    return check(msgspec.structs.replace(request, **changes(args)))


def changes(args: argparse.Namespace) -> dict:
    """The request's fields that were given on the command line."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    same = ("fit", "hidden", "percentiles", "engine", "prompt", "negative_prompt", "seed")
    fields = {name: given[name] for name in same if name in given}
    if "frames" in given:
        fields["start"], fields["end"] = parse_range(given["frames"])
    if "size" in given:
        fields["width"], fields["height"] = parse_size(given["size"])
    if "count" in given:
        fields["frames"] = given["count"]
    if "first_frame" in given:
        fields["first_frame"] = parse_first_frame(given["first_frame"])
    return fields


def parse_range(text: str) -> tuple[float, float]:
    """'1:49' to (1.0, 49.0)."""
    try:
        start, end = text.split(":")
        return float(start), float(end)
    except ValueError:
        raise UsageError(f"'{text}' is no frame range.", "Give it as A:B, for example --frames 1:49.") from None


def parse_size(text: str) -> tuple[int, int]:
    """'720x480' to (720, 480)."""
    try:
        width, height = text.lower().split("x")
        return int(width), int(height)
    except ValueError:
        raise UsageError(f"'{text}' is no size.", "Give it as WxH, for example --size 720x480.") from None


def parse_first_frame(text: str) -> FirstFrame:
    """'render', 'workbench', 'cycles', 'render:8', 'cycles:64', or the path of an image."""
    source, _, samples = text.partition(":")
    if source in ("render", "cycles") and samples.isdigit():
        return FirstFrame(source=source, samples=int(samples))
    if text in ("render", "workbench", "cycles"):
        return FirstFrame(source=text)
    if not Path(text).is_file():
        raise UsageError(
            f"There is no image {text}.", "Give --first-frame render, workbench, cycles, cycles:SAMPLES or an image file."
        )
    return FirstFrame(source="file", path=str(Path(text).resolve()))
