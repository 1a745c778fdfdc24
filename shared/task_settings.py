"""The settings of DaS's tasks beside mesh-to-video, as a request carries them. Files are named by path for the record:
whoever makes the request reads them, and the backend gets arrays."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from .camera_motion import Order
from .errors import UsageError

DepthSource = Literal["auto", "scene", "file", "moge", "depth_anything"]
Onto = Literal["append", "override"]
ObjectMotion = Literal["", "up", "down", "left", "right", "front", "back", "rot", "path", "follow"]
Tracker = Literal["dis", "lucas_kanade", "cotracker", "file"]
RepaintModel = Literal["", "flux", "sdxl"]
MAX_CANDIDATES = 16


class DepthSettings(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """Where the source's depth comes from; ``auto`` is the scene's or a file's where there is one, else Depth Anything.

    ``weights`` is a folder or hub id in place of the model's own.
    """

    source: DepthSource = "auto"
    path: str = ""
    weights: str = ""


class CameraControl(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """How the camera moves: by ``motion`` (:mod:`camera_motion`), by the file ``path``, or as the scene's camera where both
    are empty. ``onto`` says what happens to a video's own camera."""

    motion: str = ""
    order: Order = "sequence"
    path: str = ""
    onto: Onto = "append"


class ObjectManipulation(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """What moves, by a ``mask`` file, a Blender ``object`` or a ``click`` (pixels of the first frame), and how.

    ``distance`` is pixels on screen at the object's own depth, or degrees for ``rot``. ``path`` is a file of [T,4,4]
    (motion "path"), ``follow`` the Blender object whose animation is followed (motion "follow").
    """

    mask: str = ""
    object: str = ""
    click: tuple[float, float] | None = None
    motion: ObjectMotion = ""
    distance: float = 50.0
    path: str = ""
    follow: str = ""


class MotionTransfer(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """How a video's motion is found: the tracker, the grid of points on its first frame, or a file of ``tracks``."""

    tracker: Tracker = "dis"
    grid: str = "70x70"
    tracks: str = ""


class Repaint(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """The first frame painted anew along its depth: the model (none: not at all), how freely, how many to choose from.

    ``steps`` 0 is the model's own count; ``weights`` and ``base`` name other weights than its own. The words and the seed
    are the request's.
    """

    model: RepaintModel = ""
    strength: float = 1.0
    candidates: int = 1
    choice: int = 1
    steps: int = 0
    weights: str = ""
    base: str = ""


def check_object(settings: ObjectManipulation) -> None:
    """UsageError where the distance is no number."""
    if not math.isfinite(settings.distance):
        raise UsageError("The object's distance is no finite number.", "Give pixels, or degrees for rot, for example 50.")


def check_repaint(repaint: Repaint) -> None:
    """UsageError where a number is out of its range."""
    if not 0 < repaint.strength <= 1:
        raise UsageError(f"A repaint strength of {repaint.strength:g} is not possible.", "Choose above 0 and up to 1, for example 0.8.")
    if not 1 <= repaint.candidates <= MAX_CANDIDATES:
        raise UsageError(f"{repaint.candidates} candidates are not possible.", f"Choose from 1 to {MAX_CANDIDATES}.")
    if not 1 <= repaint.choice <= repaint.candidates:
        raise UsageError(
            f"Candidate {repaint.choice} is chosen and {repaint.candidates} are made.", f"Choose from 1 to {repaint.candidates}."
        )
    if repaint.steps < 0:
        raise UsageError("The repaint's step count is negative.", "Use 0 for the model's own, or a positive number.")
