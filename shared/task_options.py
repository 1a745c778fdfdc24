"""The command line's options of the tasks beside mesh-to-video, and of the repainted first frame."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import get_args

from .camera_motion import Order
from .errors import UsageError
from .task_settings import (
    CameraControl,
    DepthSettings,
    DepthSource,
    MotionTransfer,
    ObjectManipulation,
    ObjectMotion,
    Onto,
    Repaint,
    RepaintModel,
    Tracker,
)

TASKS = {"camera-control": "camera_control", "object-manipulation": "object_manipulation", "motion-transfer": "motion_transfer"}
MOTIONS = [name for name in get_args(ObjectMotion) if name not in ("", "path", "follow")]


def add_task_commands(add, blender: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """camera-control, object-manipulation, motion-transfer and repaint; returns those that generate."""
    camera = add("camera-control", "Make a picture, a video or a scene's first frame seen by a moving camera.", blender)
    _add_target(camera, "TARGET", "a picture, a video, or a .blend file whose first frame is rendered")
    _add_camera(camera)

    object = add("object-manipulation", "Move an object in a picture, a video or a scene's first frame.", blender)
    _add_target(object, "TARGET", "a picture, a video, or a .blend file whose first frame is rendered")
    _add_object(object)
    _add_camera(object)

    transfer = add("motion-transfer", "Give the motion of a video to the look of a picture.")
    _add_target(transfer, "VIDEO", "the video whose motion is wanted")
    add_transfer_options(transfer)

    for command in (camera, object, transfer):
        add_depth_options(command)
        add_repaint_options(command)

    repaint = add("repaint", "Paint a take's first frame anew along its depth, with candidates to choose from.")
    repaint.add_argument("target", type=Path, metavar="TAKE", help="a take with a tracking video, a first frame and depth")
    add_repaint_options(repaint)
    repaint.add_argument("--prompt", metavar="TEXT", help="what the picture shows (default: the take's)")
    repaint.add_argument("--seed", type=int, metavar="N", help="the same seed paints the same (default: the take's)")
    return [camera, object, transfer]


def add_repaint_options(command: argparse.ArgumentParser) -> None:
    """Whether and how the first frame is painted anew."""
    group = command.add_argument_group("repaint")
    group.add_argument("--repaint", choices=[name for name in get_args(RepaintModel) if name], help="paint the first frame anew along its depth")
    group.add_argument("--strength", dest="repaint_strength", type=float, metavar="S", help="1 paints anew, less keeps more of it (default: 1)")
    group.add_argument("--candidates", type=int, metavar="N", help="how many to choose from (default: 1)")
    group.add_argument("--choose", type=int, metavar="K", help="which of them becomes the first frame, from 1 (default: 1)")
    group.add_argument("--repaint-steps", type=int, metavar="N", help="denoising steps (default: the model's own)")
    group.add_argument("--repaint-weights", metavar="FOLDER|ID", help="other weights than the model's own")
    group.add_argument("--repaint-base", metavar="FOLDER|ID", help="with sdxl: another SDXL model to control")


def _add_target(command: argparse.ArgumentParser, name: str, help: str) -> None:
    command.add_argument("target", type=Path, metavar=name, help=help)
    command.add_argument("-o", dest="output", type=Path, metavar="TAKE", help="a new folder (default: beside the file)")
    command.add_argument("--only-tracking", action="store_true", help="stop once the take is prepared: nothing is generated")
    group = command.add_argument_group("picture")
    group.add_argument("--frames", metavar="A:B", help="frames of the video or scene, inclusive (default: all)")
    group.add_argument("--count", type=int, metavar="N", help="how many frames to make, 8N+1 (default: 49)")
    group.add_argument("--size", metavar="WxH", help="the size in pixels (default: 720x480)")
    group.add_argument("--fit", choices=("crop", "pad"), help="crop the picture to the size, or pad it")
    group.add_argument("--first-frame", metavar="IMAGE", help="another picture as the first frame, which the depth fits")


def _add_camera(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("camera path (default for a .blend: the scene's camera)")
    one = group.add_mutually_exclusive_group()
    one.add_argument("--path", dest="camera_path", type=Path, metavar="FILE", help="a camera path, of das camera or another program")
    one.add_argument("--camera-motion", metavar="TEXT", help="a motion, for example 'trans 0 0 -0.5; rot y 15'")
    group.add_argument("--order", dest="camera_order", choices=get_args(Order), help="how the motion's segments follow each other")
    group.add_argument("--onto", dest="camera_onto", choices=get_args(Onto), help="a video's own camera: append to it, or override it")
    group.add_argument(
        "--path-depth", type=float, metavar="Z", help="median distance of what the path's camera saw: the path is scaled to the picture's"
    )


def _add_object(command: argparse.ArgumentParser) -> None:
    group = command.add_argument_group("object")
    what = group.add_mutually_exclusive_group()
    what.add_argument("--mask", dest="object_mask", type=Path, metavar="IMAGE", help="white moves")
    what.add_argument("--object", dest="object_name", metavar="NAME", help="a Blender object (with a .blend)")
    what.add_argument("--click", dest="object_click", metavar="X,Y", help="a pixel of the object (needs SAM 2)")
    how = group.add_mutually_exclusive_group()
    how.add_argument("--motion", dest="object_motion", choices=MOTIONS, help="where to")
    how.add_argument("--motion-path", dest="object_path", type=Path, metavar="FILE", help="matrices [T,4,4] in the camera's axes (.npy, .npz, .json)")
    how.add_argument("--follow", dest="object_follow", metavar="NAME", help="as a Blender object moves, for example an empty (with a .blend)")
    group.add_argument("--distance", dest="object_distance", type=float, metavar="D", help="pixels on screen, or degrees for rot (default: 50)")


def add_transfer_options(command: argparse.ArgumentParser, tracks: tuple[str, str] = ("FILE", "tracks of another program (.npz)")) -> None:
    """How the points of a video are followed; ``tracks`` is what the command takes, and what is said of it."""
    group = command.add_argument_group("motion")
    group.add_argument("--tracker", choices=get_args(Tracker), help="how points are followed (default: dis, optical flow)")
    group.add_argument("--grid", metavar="NxM", help="how many points (default: 70x70)")
    group.add_argument("--tracks", type=Path, metavar=tracks[0], help=tracks[1])


def add_depth_options(command: argparse.ArgumentParser) -> None:
    """Where a picture's depth comes from, and its lens."""
    group = command.add_argument_group("depth")
    known = ", ".join(name for name in get_args(DepthSource) if name != "file")
    group.add_argument("--depth", metavar="SOURCE|FILE", help=f"{known}, or a file (.exr, .png of 16 bits, .npz)")
    group.add_argument("--depth-weights", metavar="FOLDER|ID", help="other weights than the depth model's own")
    group.add_argument("--lens", type=float, metavar="MM", help="focal length of the picture for a 36 mm wide sensor (default: estimated, else 50 degrees)")


def task_changes(args: argparse.Namespace) -> dict:
    """The request's task fields that were given on the command line."""
    given = {name: value for name, value in vars(args).items() if value is not None}
    fields: dict = {}
    if task := TASKS.get(getattr(args, "command", "")):
        fields["task"] = task
    _put(fields, "depth", DepthSettings, _depth(given))
    _put(fields, "camera", CameraControl, _picked(given, motion="camera_motion", order="camera_order", path="camera_path", onto="camera_onto"))
    _put(fields, "object", ObjectManipulation, _object(given))
    _put(fields, "transfer", MotionTransfer, _transfer(given))
    _put(fields, "repaint", Repaint, _repaint(given))
    return fields


def parse_click(text: str) -> tuple[float, float]:
    """'320,200' to (320.0, 200.0)."""
    try:
        x, y = text.split(",")
        return float(x), float(y)
    except ValueError:
        raise UsageError(f"'{text}' is no pixel.", "Give it as X,Y, for example --click 320,200.") from None


def parse_weights(text: str) -> str:
    """A folder as its whole path, for the backend stands elsewhere; a hub id as it is."""
    return str(Path(text).resolve()) if Path(text).is_dir() else text


def _put(fields: dict, name: str, struct: type, values: dict) -> None:
    if values:
        fields[name] = struct(**values)


def _picked(given: dict, **names: str) -> dict:
    """Fields by the option that gives them; files as their whole path."""
    return {field: _whole(given[option]) for field, option in names.items() if option in given}


def _whole(value: object) -> object:
    return str(value.resolve()) if isinstance(value, Path) else value


def _depth(given: dict) -> dict:
    values = {"weights": parse_weights(given["depth_weights"])} if "depth_weights" in given else {}
    text = given.get("depth")
    if text is None:
        return values
    if text in get_args(DepthSource) and text != "file":
        return {**values, "source": text}
    if not Path(text).is_file():
        known = ", ".join(name for name in get_args(DepthSource) if name != "file")
        raise UsageError(f"'{text}' is no source of depth, and there is no such file.", f"Give {known} or a file.")
    return {**values, "source": "file", "path": str(Path(text).resolve())}


def _object(given: dict) -> dict:
    values = _picked(
        given, mask="object_mask", object="object_name", motion="object_motion", path="object_path", follow="object_follow", distance="object_distance"
    )
    if "object_click" in given:
        values["click"] = parse_click(given["object_click"])
    for motion in ("path", "follow"):
        if motion in values:
            values["motion"] = motion
    return values


def _transfer(given: dict) -> dict:
    values = _picked(given, tracker="tracker", grid="grid", tracks="tracks")
    if "tracks" in values:
        if values.get("tracker", "file") != "file":
            raise UsageError(f"Both a tracker and the tracks {values['tracks']} are given.", "Give one of --tracker and --tracks.")
        values["tracker"] = "file"
    elif values.get("tracker") == "file":
        raise UsageError("The tracks come from a file and none is given.", "Give it with --tracks FILE.")
    return values


def _repaint(given: dict) -> dict:
    values = _picked(
        given,
        model="repaint",
        strength="repaint_strength",
        candidates="candidates",
        choice="choose",
        steps="repaint_steps",
        weights="repaint_weights",
        base="repaint_base",
    )
    return {name: parse_weights(value) if name in ("weights", "base") else value for name, value in values.items()}
