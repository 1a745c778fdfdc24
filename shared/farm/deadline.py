"""`das farm deadline FILE -o FOLDER`: a job of Deadline's CommandLine plugin, with a task for each seed.

Deadline's frames are the seeds: it puts each in place of <STARTFRAME> in the one command line.
"""

from __future__ import annotations

import argparse
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from .. import command_line, options
from ..errors import UsageError
from ..report import Reporter
from ..request import GenerationRequest
from .writing import write_durably

SEEDS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")
SEED = "<STARTFRAME>"
PLAIN = re.compile(r"[\w./:\\=<>+-]+")  # needs no quotes on any system
ENCODING = "utf-16"  # what Deadline's own submitters write; it knows it by its first bytes


def run(args: argparse.Namespace, reporter: Reporter) -> int:
    own, rest = _parser().parse_known_args(args.words)
    check_options(own, rest)
    folder = own.output.absolute()
    job, plugin = folder / "deadline" / "job.txt", folder / "deadline" / "plugin.txt"
    write_durably(job, "".join(f"{line}\n" for line in job_lines(own)).encode(ENCODING))
    write_durably(plugin, "".join(f"{line}\n" for line in plugin_lines(own, rest)).encode(ENCODING))
    command = f'deadlinecommand "{job}" "{plugin}"'
    reporter.result(f"Submit it with:\n{command}", job=str(job), plugin=str(plugin), command=command)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = command_line.Parser(prog="das farm deadline", add_help=False, allow_abbrev=False)
    parser.add_argument("target", type=Path)
    parser.add_argument("-o", dest="output", type=Path, required=True)
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--das")
    parser.add_argument("--json", action="store_true")
    return parser


def check_options(own: argparse.Namespace, rest: Sequence[str]) -> None:
    """UsageError now where a task would end with one on a worker."""
    if not own.target.exists():
        raise UsageError(f"There is no {own.target}.", "Give a .blend file or a take folder that the workers see under the same path.")
    if not SEEDS.fullmatch(own.seeds.replace(" ", "")):
        raise UsageError(f"'{own.seeds}' are no seeds.", "Give them as 7, 1,5,9 or 1-4.")
    asked = command_line.parser().parse_args(["generate", str(own.target), *rest])
    for name, option in {"seed": "--seed", "tracking": "--tracking"}.items():
        if getattr(asked, name) is not None:
            raise UsageError(f"{option} has no place in a job of several seeds.", "Give --seeds, and a .blend file or a take.")
    asked.weights = None  # may lie on the workers only
    options.changed(GenerationRequest(), asked)


def job_lines(own: argparse.Namespace) -> list[str]:
    """The job info file."""
    return [
        "Plugin=CommandLine",
        f"Name=Diffusion as Shader: {own.target.absolute().stem}",
        f"Frames={own.seeds.replace(' ', '')}",
        "ChunkSize=1",
        f"OutputDirectory0={own.output.absolute()}",
    ]


def plugin_lines(own: argparse.Namespace, rest: Sequence[str]) -> list[str]:
    """The plugin info file. Relative paths among the options begin where this command was called."""
    take = own.output.absolute() / f"seed-{SEED}"
    words = ["generate", str(own.target.absolute()), "-o", str(take), "--resume", "--seed", SEED, *rest]
    return [
        f"Executable={own.das or das_program()}",
        f"Arguments={' '.join(_quoted(word) for word in words)}",
        f"StartupDirectory={Path.cwd()}",
        "Shell=default",
        "ShellExecute=False",
        "SingleFramesOnly=True",
    ]


def das_program() -> str:
    """The program das of this Python, or the one on the path."""
    here = shutil.which("das", path=str(Path(sys.executable).parent))
    return here or shutil.which("das") or "das"


def _quoted(word: str) -> str:
    if '"' in word or "\n" in word:
        raise UsageError(f"Deadline cannot pass on {word!r}.", "Leave quotation marks and line ends away.")
    return word if PLAIN.fullmatch(word) else f"<QUOTE>{word}<QUOTE>"
