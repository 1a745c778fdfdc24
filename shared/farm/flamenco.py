"""`das farm flamenco`: the job type script (diffusion_as_shader.js), shown, or written where Flamenco Manager looks for it."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..errors import UsageError
from ..report import Reporter
from .writing import write_durably

SCRIPT = Path(__file__).with_name("diffusion_as_shader.js")
MARK = "// Diffusion as Shader for Blender:"  # at the head of every version of it
MANAGER = "flamenco-manager*"  # the program and its settings have this name on every system
NEXT = """Next, once:
1. In flamenco-manager.yaml give the variable "das" the path of das on the workers, for each platform (or choose Run By: Blender).
2. In Blender refresh Flamenco's panel (Output properties) and choose the job type "Diffusion as Shader"."""


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    content = SCRIPT.read_bytes()
    if args.install is None:
        reporter.result(content.decode().rstrip(), script=str(SCRIPT))
        return 0
    file = scripts_folder(args.install) / SCRIPT.name
    _check_ours(file)
    write_durably(file, content)
    reporter.result(f"{file.absolute()}\n{NEXT}", file=str(file.absolute()))
    return 0


def scripts_folder(folder: Path) -> Path:
    """The scripts folder of the Flamenco Manager that lies in ``folder`` or beside it. UsageError where neither is so."""
    if not folder.is_dir():
        raise UsageError(f"There is no folder {folder}.", "Give the folder in which flamenco-manager lies.")
    folder = folder.resolve()
    if any(folder.glob(MANAGER)):
        return folder / "scripts"
    if folder.name == "scripts" and any(folder.parent.glob(MANAGER)):
        return folder
    raise UsageError(
        f"No Flamenco Manager lies in {folder}.",
        "Give the folder in which flamenco-manager lies, or the folder scripts beside it; das farm flamenco alone shows the script.",
    )


def _check_ours(file: Path) -> None:
    if file.exists() and MARK not in file.read_text(encoding="utf-8", errors="replace"):
        raise UsageError(f"{file} is another job type of the same name.", "Move it away first.")
