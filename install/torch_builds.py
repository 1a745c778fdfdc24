"""Which build of torch, and by which tool: pip takes the one of its index, uv looks at the card first."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

Command = tuple[str, str, tuple]  # label; 'pip' for words that follow pip install, '' for a whole command; its words


def torch_commands(build: str, python: Path, torch: str, system: str = sys.platform, nvidia: bool | None = None) -> list[Command]:
    """What installs ``torch`` (with its version) into the environment of ``python``, in order.

    ``build`` is 'auto' or 'cpu'. What an index holds under the plain name is the build for NVIDIA's cards on Linux, and the
    only one on macOS. On Windows that is one without any card, and AMD's and Intel's have builds of their own everywhere.
    """
    nvidia = has_nvidia() if nvidia is None else nvidia
    if system == "darwin" or (build == "auto" and system.startswith("linux") and nvidia):
        return [("torch", "pip", (torch,))]
    backend = f"--torch-backend={build}"
    return [
        ("uv", "pip", ("uv",)),
        ("torch", "", (python, "-m", "uv", "pip", "install", "--python", python, backend, torch)),
    ]


def has_nvidia() -> bool:
    """Whether NVIDIA's driver is on this machine."""
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None
