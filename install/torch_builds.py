"""Which build of torch, and by which tool: pip takes the one of its index, uv looks at the card first."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

WITHOUT_UV = "uv could not fetch torch in the build for this machine, so pip's build was taken, which may not use the graphics card."


def uses_uv(build: str, system: str = sys.platform, nvidia: bool | None = None) -> bool:
    """Whether uv is to choose the build. ``build`` is 'auto' or 'cpu'.

    What an index holds under the plain name is the build for NVIDIA's cards on Linux, and the only one on macOS. On Windows
    that is one without any card, and AMD's and Intel's have builds of their own everywhere.
    """
    nvidia = has_nvidia() if nvidia is None else nvidia
    return not (system == "darwin" or (build == "auto" and system.startswith("linux") and nvidia))


def uv_command(build: str, python: Path, torch: str) -> list[str | Path]:
    """What installs ``torch``, with its version, into the environment of ``python``, in which uv is."""
    return [python, "-m", "uv", "pip", "install", "--python", python, f"--torch-backend={build}", torch]


def has_nvidia() -> bool:
    """Whether NVIDIA's driver is on this machine."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
