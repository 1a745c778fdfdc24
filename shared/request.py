"""The one description of one generation. Panel, command line, wire and take folder all carry this struct."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from .errors import UsageError
from .task_settings import (
    CameraControl,
    DepthSettings,
    MotionTransfer,
    ObjectManipulation,
    Repaint,
    check_object,
    check_repaint,
)

MODEL_FRAMES = 49
MODEL_SIZE = (720, 480)
MAX_PROMPT_CHARACTERS = 4000
MAX_SIDE = 4096
MAX_FRAMES = 1025
MAX_STEPS = 1000
MAX_GUIDANCE_SCALE = 100.0

Task = Literal["mesh_to_video", "camera_control", "object_manipulation", "motion_transfer"]
Fit = Literal["crop", "pad"]
Hidden = Literal["project", "black"]
Percentiles = Literal["visible", "vertices"]
Background = Literal["black", "world"]
Written = Literal["video", "coordinates", "depth", "mattes", "flow", "tracks"]
FirstFrameSource = Literal["render", "workbench", "cycles", "file"]
Guidance = Literal["dynamic", "constant", "reference"]
Scheduler = Literal["dpm", "ddim"]
TrackingRange = Literal["signed", "unsigned"]
ImageLatentScale = Literal["auto", "mul", "div"]
Quality = Literal["draft", "balanced", "final"]


class FirstFrame(msgspec.Struct, kw_only=True, omit_defaults=True, frozen=True):
    """Where the first frame comes from: the scene's own engine, a chosen one, or an image file."""

    source: FirstFrameSource = "render"
    path: str = ""
    samples: int = 0  # 0 leaves the scene's own sample count


class GenerationRequest(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Everything about one generation.

    ``start`` and ``end`` are scene frames, inclusive (``A:B``), and may be fractional; ``frames`` results
    are sampled evenly over them (see :mod:`timeline`). ``width`` and ``height`` are the window in pixels.
    ``write`` names the files for other tools that a capture writes beside its take (docs/signals.md), ``points``
    what its tracks follow (:mod:`points`). ``source`` is the picture or video of the other tasks: with it ``start``, ``end``
    and ``scene_fps`` are a video's own; ``depth``, ``camera``, ``object`` and ``transfer`` are their settings
    (:mod:`task_settings`), ``repaint`` serves every task. From ``steps`` on, the fields are those of the model alone
    (docs/das-engine.md): ``weights`` is a folder or a hub id (``owner/name``, or ``owner/name@revision``), empty for the
    published ones; ``from_base`` says that they are the base model's, which gets a new branch; ``memory_plan`` is one of
    `das doctor`'s.
    """

    task: Task = "mesh_to_video"
    engine: str = "projection"
    prompt: str = ""
    negative_prompt: str = ""
    seed: int = 0
    width: int = MODEL_SIZE[0]
    height: int = MODEL_SIZE[1]
    frames: int = MODEL_FRAMES
    start: float = 1.0
    end: float = 49.0
    scene_fps: float = 24.0
    fit: Fit = "crop"
    first_frame: FirstFrame = FirstFrame()
    hidden: Hidden = "project"
    percentiles: Percentiles = "visible"
    write: tuple[Written, ...] = ()
    points: str = "50x50"
    background: Background = "black"  # world: colours of a sphere at infinity, so that a panning camera moves the sky
    source: str = ""
    depth: DepthSettings = DepthSettings()
    camera: CameraControl = CameraControl()
    object: ObjectManipulation = ObjectManipulation()
    transfer: MotionTransfer = MotionTransfer()
    repaint: Repaint = Repaint()
    steps: int = 50
    guidance: Guidance = "dynamic"
    guidance_scale: float = 6.0
    scheduler: Scheduler = "dpm"
    tracking_range: TrackingRange = "signed"  # unsigned: 0..1, as the reference's inference gives it to a model trained in -1..1
    image_latent_scale: ImageLatentScale = "auto"
    weights: str = ""
    from_base: bool = False
    quality: Quality = "balanced"
    memory_plan: str = "auto"


def check(request: GenerationRequest) -> GenerationRequest:
    """The request itself, or a UsageError whose text says the fix."""
    _check_range(request)
    _check_size(request)
    _check_words(request)
    _check_first_frame(request.first_frame)
    _check_sampling(request)
    check_object(request.object)
    check_repaint(request.repaint)
    return request


def _check_range(request: GenerationRequest) -> None:
    if not (math.isfinite(request.start) and math.isfinite(request.end)):
        raise UsageError("The frame range must be two finite numbers.", "Give it as A:B, for example 1:49.")
    if request.end <= request.start:
        raise UsageError(
            f"The frame range {request.start:g}:{request.end:g} is empty or reversed.",
            "Give the first frame before the last, for example 1:49.",
            "one_a_frame",
        )
    if request.scene_fps <= 0 or not math.isfinite(request.scene_fps):
        raise UsageError(f"{request.scene_fps} frames a second is no frame rate.", "Use a positive number, for example 24.")
    if not 9 <= request.frames <= MAX_FRAMES or request.frames % 8 != 1:
        below = min(max(9, (request.frames - 1) // 8 * 8 + 1), MAX_FRAMES)
        raise UsageError(
            f"A generation of {request.frames} frames is not possible.",
            f"The frame count must be 8N+1 between 9 and {MAX_FRAMES}, for example {below} or {MODEL_FRAMES}.",
            "one_a_frame",
        )


def _check_size(request: GenerationRequest) -> None:
    sides = (request.width, request.height)
    if any(not 16 <= side <= MAX_SIDE or side % 16 for side in sides):
        raise UsageError(
            f"The size {request.width}x{request.height} is not possible.",
            f"Width and height must be multiples of 16 between 16 and {MAX_SIDE}, for example 720x480.",
            "round_size",
        )


def _check_words(request: GenerationRequest) -> None:
    for name in ("prompt", "negative_prompt"):
        if len(getattr(request, name)) > MAX_PROMPT_CHARACTERS:
            raise UsageError(
                f"The {name.replace('_', ' ')} has more than {MAX_PROMPT_CHARACTERS} characters.", "Shorten it."
            )
    if not 0 <= request.seed < 2**32:
        raise UsageError(f"The seed {request.seed} is out of range.", "Use a whole number from 0 to 4294967295.")
    if not request.engine.isidentifier():
        raise UsageError(f"'{request.engine}' is no engine name.", "Use --engine projection or --engine das.")


def _check_first_frame(first_frame: FirstFrame) -> None:
    if first_frame.source == "file" and not first_frame.path:
        raise UsageError("The first frame comes from a file but no path is given.", "Choose an image file.", "render_first_frame")
    if first_frame.samples < 0:
        raise UsageError("The first frame's sample count is negative.", "Use 0 for the scene's own, or a positive number.")


def _check_sampling(request: GenerationRequest) -> None:
    if not 1 <= request.steps <= MAX_STEPS:
        raise UsageError(f"{request.steps} denoising steps are not possible.", f"Choose from 1 to {MAX_STEPS}, for example 50.")
    if not 0 <= request.guidance_scale <= MAX_GUIDANCE_SCALE:
        raise UsageError(
            f"A guidance scale of {request.guidance_scale:g} is not possible.",
            f"Choose from 0 to {MAX_GUIDANCE_SCALE:g}, for example 6; 1 with constant guidance switches it off.",
        )
    if not request.memory_plan.replace("-", "").isalnum():
        raise UsageError(f"'{request.memory_plan}' is no memory plan.", "Use auto, or one that das doctor names.")
