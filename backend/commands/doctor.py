"""`das doctor` in the backend's Python: packages and engines."""

from __future__ import annotations

import argparse
import platform
from importlib import metadata

from ...shared import doctor
from ...shared.report import Reporter
from ..engines import engine_infos

PACKAGES = ("numpy", "msgspec", "pyzmq", "imageio", "av", "opencv-python-headless", "scipy", "torch")


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    return doctor.run(args, reporter, "backend", {"packages": packages, "engines": engines, "video": video})


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


def video() -> str:
    """Whether H.264 and FFV1 can be written."""
    import av

    return f"FFmpeg by PyAV {av.__version__}: {', '.join(av.Codec(name, 'w').name for name in ('libx264', 'ffv1'))}"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
