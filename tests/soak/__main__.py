"""python -m soak [PART ...]: every part in a process of its own, bounded in time; the last line is the sum."""

from __future__ import annotations

import argparse
import importlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import msgspec

from diffusion_as_shader.shared import home

from .backend import environment
from .options import Broken, Options

# Part -> its bound in seconds, generous for a slow machine.
PARTS = {"fuzz": 2400, "jobs": 900, "disk": 600, "clock": 600, "readers": 300, "payload": 300}


def main(argv: list[str]) -> int:
    """Run the parts that are named, or all; 1 where one is broken."""
    signal.signal(signal.SIGTERM, interrupt)
    parser = argparse.ArgumentParser(prog="soak", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"one of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--inside", action="store_true", help=argparse.SUPPRESS)
    for field in msgspec.structs.fields(Options):
        parser.add_argument(f"--{field.name}", type=field.type, default=field.default)
    args = vars(parser.parse_args(argv))
    parts, inside = args.pop("parts") or list(PARTS), args.pop("inside")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"there is no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    options = Options(**args)
    return run_here(parts[0], options) if inside else run_all(parts, options)


def interrupt(signum: int, frame: object) -> None:
    """SIGTERM ends like Ctrl-C: what was started first."""
    raise KeyboardInterrupt


def run_all(parts: list[str], options: Options) -> int:
    began, broken = time.monotonic(), []
    for part in parts:
        print(f"\n=== {part}, seed {options.seed}", flush=True)
        started = time.monotonic()
        if run_apart(part, options):
            broken.append(part)
        print(f"{part}: {'BROKEN' if part in broken else 'held'} after {time.monotonic() - started:.0f} s", flush=True)
    print(f"\n{len(parts) - len(broken)} of {len(parts)} parts held in {time.monotonic() - began:.0f} s, seed {options.seed}")
    return 1 if broken else 0


def run_apart(part: str, options: Options) -> int:
    """One part in a process, and with it all that it starts, which are ended at its bound."""
    words = [f"--{field}={value}" for field, value in msgspec.structs.asdict(options).items()]
    apart = {} if sys.platform == "win32" else {"start_new_session": True}
    folder = Path(tempfile.mkdtemp(prefix=f"das-soak-{part}-"))
    child = subprocess.Popen([sys.executable, "-m", "soak", "--inside", *words, part], env=environment(folder), **apart)
    try:
        return child.wait(PARTS[part])
    except subprocess.TimeoutExpired:
        print(f"{part} has not ended within {PARTS[part]} s", flush=True)
        return 1
    finally:
        _end(child)


def _end(child: subprocess.Popen) -> None:
    if sys.platform == "win32":
        child.kill()
    else:
        try:
            os.killpg(child.pid, signal.SIGKILL)
        except ProcessLookupError:
            pass  # all of them have ended
    child.wait()


def run_here(part: str, options: Options) -> int:
    """One part; its figures, or what is broken and where it lies."""
    folder = home.home()
    try:
        for figure in importlib.import_module(f".{part}", __package__).run(options, folder):
            print(f"  {figure}", flush=True)
    except Broken as error:
        print(*error.sentences, f"What is left of it lies in {folder}.", f"Again: --seed={options.seed} --jobs={options.jobs} --clients={options.clients} {part}", sep="\n", flush=True)
        return 1
    except BaseException:
        print(f"What is left of it lies in {folder}.", flush=True)
        raise
    shutil.rmtree(folder, ignore_errors=True)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(sys.argv[1:]))
    except KeyboardInterrupt:
        sys.exit(130)
