"""`das doctor` in the backend's Python: packages and engines."""

from __future__ import annotations

import argparse
import importlib.util
import platform
from collections.abc import Callable
from importlib import metadata

from ...shared import doctor
from ...shared.report import Reporter
from ...shared.request import MODEL_FRAMES, MODEL_SIZE, GenerationRequest
from ..engines import engine_infos
from ..machine import find_devices
from ..models import weights

PACKAGES = ("numpy", "msgspec", "pyzmq", "imageio", "av", "opencv-python-headless", "scipy", "torch", "diffusers", "transformers")


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    own = {"packages": packages, "engines": engines, "video": video, "workers": workers}
    return doctor.run(args, reporter, "backend", own | (of_the_model() if importlib.util.find_spec("torch") else {}))


def of_the_model() -> dict[str, Callable[[], str]]:
    """What only a Python with torch can say: cards, weights, and each memory plan for the published size."""
    from ..models.plans import PLANS

    request = GenerationRequest(width=MODEL_SIZE[0], height=MODEL_SIZE[1], frames=MODEL_FRAMES)
    plans = {f"plan {plan.name}": lambda plan=plan: memory_plan(plan, request) for plan in PLANS}
    return {"cards": cards, "weights": lambda: str(weights.find("").folder), "memory plan": lambda: chosen_plan(request)} | plans


def cards() -> str:
    from ..models import cards

    return cards.describe()


def chosen_plan(request: GenerationRequest) -> str:
    """Which plan a generation of the published size would run under, and why no better one."""
    from ..models import plans

    choice = plans.choose(plans.machines()[0], network(), request, plans.Remembered())
    why = f"; {'; '.join(choice.passed_over)}" if choice.passed_over else ", the best there is"
    size = f"{request.width}x{request.height} and {request.frames} frames"
    return f"{choice.plan.name} for {size}, {plans.gigabytes(choice.need.peak)} expected{why}"


def memory_plan(plan, request: GenerationRequest) -> str:
    """What a plan needs, and whether it is there."""
    from ..models import plans

    machine = next((one for one in plans.machines() if one.device == plan.device), None)
    of = network()
    needed = plans.gigabytes(plans.need(plan, of, request).peak)
    state = "no card" if machine is None else plans.obstacle(plan, machine, of, request) or "fits"
    return f"{needed}: {plan} ({state})"


def network():
    """The sizes of the weights that are found, else of the published ones."""
    from ..models import costs, placement
    from ..models.checkpoint import Checkpoint

    try:
        return placement.network_of(Checkpoint())
    except weights.WeightsError:
        return costs.PUBLISHED  # a finding of its own says so


def packages() -> str:
    """Versions of what the backend is made of; torch is wanted by the model alone."""
    installed = {name: _version(name) for name in PACKAGES}
    return f"Python {platform.python_version()}, " + ", ".join(
        f"{name} {version or 'not installed'}" for name, version in installed.items()
    )


def engines() -> str:
    return "; ".join(
        f"{engine.name} on {engine.device}" if engine.available else f"{engine.name} not available: {engine.reason}"
        for engine in engine_infos()
    )


def workers() -> str:
    """What a backend of this Python would run jobs on: a worker each."""
    return "; ".join(device.name for device in find_devices())


def video() -> str:
    """Whether H.264 and FFV1 can be written."""
    import av

    return f"FFmpeg by PyAV {av.__version__}: {', '.join(av.Codec(name, 'w').name for name in ('libx264', 'ffv1'))}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
