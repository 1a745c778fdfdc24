"""The command line's options of a request, and how they change one."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

import msgspec

from .errors import UsageError, did_you_mean
from .points import FORMS, is_grid
from .request import (
    Background,
    FirstFrame,
    Fit,
    GenerationRequest,
    Guidance,
    Hidden,
    ImageLatentScale,
    Percentiles,
    Quality,
    Scheduler,
    TrackingRange,
    Written,
    check,
)
from .task_options import parse_weights, task_changes

MODEL_FIELDS = (
    *("steps", "guidance", "guidance_scale", "scheduler", "tracking_range"),
    *("image_latent_scale", "weights", "from_base", "quality", "memory_plan"),
)


def add_capture_options(command: argparse.ArgumentParser) -> None:
    """What is captured, and through which window. Each default is None: the scene's, or the request's own."""
    group = command.add_argument_group("capture")
    group.add_argument("--frames", metavar="A:B", help="scene frames, inclusive (negative ones: --frames=-5:20)")
    group.add_argument("--count", type=int, metavar="N", help="how many frames to make, 8N+1 (default: 49)")
    group.add_argument("--size", metavar="WxH", help="the window in pixels (default: 720x480)")
    group.add_argument("--fit", choices=get_args(Fit), help="crop the camera's view to the window, or pad it")
    group.add_argument("--hidden", choices=get_args(Hidden), help="colour of surface hidden in the first frame")
    group.add_argument("--percentiles", choices=get_args(Percentiles), help="what the depth colour is scaled by")
    group.add_argument("--background", choices=get_args(Background), help="black, or tracked as infinitely far, so that pans move the sky")
    group.add_argument(
        "--first-frame", metavar="SOURCE", help="render (the scene's look), workbench, cycles, render:SAMPLES, cycles:SAMPLES or an image"
    )


def add_scene_options(command: argparse.ArgumentParser) -> None:
    """Which scene of a file, through which camera."""
    group = command.add_argument_group("scene")
    group.add_argument("--scene", dest="scene_name", metavar="NAME", help="a scene of the file (default: the one that was active)")
    group.add_argument("--camera", dest="camera_name", metavar="NAME", help="a camera of the scene, throughout (default: the scene's own)")


def refuse_scene_options(args: argparse.Namespace) -> None:
    """UsageError where there is no scene to choose one of."""
    for name, option in {"scene_name": "--scene", "camera_name": "--camera"}.items():
        if getattr(args, name, None):
            raise UsageError(f"{option} is for a .blend file.", "Leave it away: what is given here is drawn already.")


def add_resume_option(command: argparse.ArgumentParser) -> None:
    """What lets a farm run the same command line again."""
    command.add_argument(
        "--resume", action="store_true", help="go on with what the same command has begun in -o; what is half-made there is made anew"
    )


def add_score_options(command: argparse.ArgumentParser) -> None:
    """How well the result keeps to the motion, and the best of several."""
    group = command.add_argument_group("score")
    group.add_argument("--score", action="store_true", help="say how well the result keeps to the scene's motion")
    group.add_argument("--best-of", type=int, metavar="N", help="make N seeds, each a take beside the first, and rank them by their scores")


def add_write_options(command: argparse.ArgumentParser) -> None:
    """What a capture writes for other tools."""
    group = command.add_argument_group("also write")
    group.add_argument("--write", metavar="LIST", help=f"for other tools, by commas: {', '.join(get_args(Written))}")
    group.add_argument("--points", metavar="GRID|FILE", help="what tracks follow: 50x50 (default), 400, or a .csv, .json or .npz of x,y[,t]")


def add_generation_options(command: argparse.ArgumentParser) -> None:
    """What is made of the tracking video."""
    group = command.add_argument_group("generation")
    group.add_argument("--engine", metavar="NAME", help="projection (default: needs no weights), or das")
    group.add_argument("--prompt", metavar="TEXT", help="what the video shows")
    group.add_argument("--negative-prompt", metavar="TEXT", help="what it must not show")
    group.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same video")
    group.add_argument(
        "--connection", type=Path, metavar="FILE", help="use the backend of this connection file, also on another machine (default: your own)"
    )
    _add_model_options(command.add_argument_group("generation with --engine das"))


def _add_model_options(group) -> None:
    group.add_argument("--weights", metavar="FOLDER|ID", help="the model's weights: a folder or owner/name[@revision] (default: the published ones)")
    group.add_argument("--from-base", action="store_true", default=None, help="the weights are CogVideoX-5b-I2V, without a tracking branch: make a new one")
    group.add_argument("--steps", type=int, metavar="N", help="denoising steps (default: 50)")
    group.add_argument("--guidance", choices=get_args(Guidance), help="how strongly the prompt leads, step by step (default: dynamic, rising)")
    group.add_argument("--guidance-scale", type=float, metavar="S", help="how strongly at most (default: 6)")
    group.add_argument("--scheduler", choices=get_args(Scheduler), help="the sampler (default: dpm)")
    group.add_argument("--quality", choices=get_args(Quality), help="draft is faster and less exact (default: balanced)")
    group.add_argument("--plan", dest="memory_plan", metavar="NAME", help="how memory is used; das doctor names the plans (default: auto)")
    group.add_argument("--tracking-range", choices=get_args(TrackingRange), help="range of the tracking video in the model (default: signed, -1..1)")
    group.add_argument("--image-latent-scale", choices=get_args(ImageLatentScale), help="how the first frame's latents are scaled (default: auto)")


def changed(request: GenerationRequest, args: argparse.Namespace) -> GenerationRequest:
    """The request with the options that were given, checked."""
    fields = changes(args)
    if "points" in fields and "tracks" not in fields.get("write", request.write):
        raise UsageError("--points chooses what the tracks follow, and no tracks are written.", "Add --write tracks.")
    return check(msgspec.structs.replace(request, **fields))


def changes(args: argparse.Namespace) -> dict:
    """The request's fields that were given on the command line."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    same = ("fit", "hidden", "percentiles", "background", "engine", "prompt", "negative_prompt", "seed", *MODEL_FIELDS)
    fields = {name: given[name] for name in same if name in given}
    if "frames" in given:
        fields["start"], fields["end"] = parse_range(given["frames"])
    if "size" in given:
        fields["width"], fields["height"] = parse_size(given["size"])
    if "count" in given:
        fields["frames"] = given["count"]
    if "first_frame" in given:
        fields["first_frame"] = parse_first_frame(given["first_frame"])
    if "write" in given:
        fields["write"] = parse_write(given["write"])
    if "points" in given:
        fields["points"] = parse_points(given["points"])
    if "weights" in given:
        fields["weights"] = parse_weights(given["weights"])
    return fields | task_changes(args)


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


def parse_write(text: str) -> tuple[Written, ...]:
    """'depth,flow' to ('depth', 'flow')."""
    names, known = [name.strip().lower() for name in text.split(",") if name.strip()], get_args(Written)
    for name in names:
        if name == "h264":
            raise UsageError("A capture writes its video as FFV1 only.", "Use --write video, or das encode TAKE --codec h264.")
        if name not in known:
            raise UsageError(f"--write knows no '{name}'.", f"{did_you_mean(name, known)} Choose of {', '.join(known)}.".lstrip())
    return tuple(name for name in known if name in names)


def parse_points(text: str) -> str:
    """A grid as it is, a file as its whole path."""
    if is_grid(text):
        return text.strip().lower()
    if not Path(text).is_file():
        raise UsageError(f"'{text}' is no grid of points, and there is no such file.", f"Give {FORMS}.")
    return str(Path(text).resolve())
