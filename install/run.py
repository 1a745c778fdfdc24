"""python3 install/run.py setup | demo | test: make the environments, then run what is asked for in them.

Runs with any Python from 3.11 on and its standard library.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

if sys.version_info < (3, 11):
    sys.exit("This needs Python 3.11 or later, and this is %d.%d. Run it with another one, for example python3.11." % sys.version_info[:2])
ROOT = Path(__file__).resolve().parents[1]
if not __package__:  # run as a script: its siblings are the package `install` of the root
    sys.path[0] = str(ROOT)
    __package__ = "install"

from .environments import MODEL, PLANS, LeftOut, Made, Plan, make_environments  # noqa: E402
from .errors import InstallError  # noqa: E402
from .gui import CannotBeHere, default_room, ready_room, window_run  # noqa: E402
from .steps import clean_environment, say, stop  # noqa: E402
from .tests import Start, run_soak, run_tests  # noqa: E402

BACKEND, NEWEST_BLENDER = PLANS[0], PLANS[-1]  # the latter has Blender's own tool that builds the extension
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """One command; its exit code."""
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, interrupt)
    try:
        return args.run(args)
    except InstallError as error:
        print(f"Error: {error.message}\n{error.fix}".rstrip(), file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt:
        print("Stopped. Run it again to go on.", file=sys.stderr)
        return INTERRUPTED


def interrupt(signum: int, frame: object) -> None:
    """SIGTERM ends like Ctrl-C: children first."""
    raise KeyboardInterrupt


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    commands = whole.add_subparsers(required=True, metavar="COMMAND")
    blender = argparse.ArgumentParser(add_help=False)
    blender.add_argument(
        "--blender", action="append", choices=[plan.name.removeprefix("blender-") for plan in PLANS if plan.blender],
        help="only this Blender (may be given twice; default: every one that this machine's Pythons allow)",
    )  # fmt: skip

    setup = commands.add_parser("setup", parents=[blender], help="make the environments")
    setup.add_argument("--model", action="store_true", help="the model's environment too: torch and diffusers, 1 to 4 GB")
    setup.set_defaults(run=run_setup)

    demo = commands.add_parser("demo", parents=[blender], help="animation to video, on the example scene or your own")
    demo.add_argument("--scene", type=Path, metavar="FILE", help="a .blend file instead of the example scene")
    demo.add_argument("-o", dest="output", type=Path, default=ROOT / "demo", metavar="FOLDER", help="default: demo")
    demo.set_defaults(run=run_demo)

    test = commands.add_parser("test", parents=[blender], help="all tests, in every environment")
    test.add_argument("--jobs", type=int, default=1, metavar="N", help="environments tested at once (default: 1)")
    test.add_argument("--without-model", action="store_true", help="leave out the model's environment and its tests")
    test.add_argument("--soak", action="store_true", help="the backend under load and abuse instead, about half an hour (docs/reliability.md)")
    test.add_argument("--gui", action="store_true", help="in a real Blender window instead, with real clicks; needs root on Debian")
    test.add_argument("--with-gui", action="store_true", help="in a real Blender window too, where this machine can have one")
    test.add_argument("--window", type=Path, default=default_room(), metavar="FOLDER", help="where that Blender is, or is made once (1.8 GB); default: %(default)s")
    test.add_argument("arguments", nargs="*", metavar="ARGUMENT", help="for pytest, or for the soak, after --")
    test.set_defaults(run=run_test)
    return whole


def plans(args: argparse.Namespace, model: bool = False) -> list[Plan]:
    """The backend, the model's environment where it is wanted, and the chosen Blenders, or all."""
    chosen = [plan for plan in PLANS if not (plan.blender and args.blender) or plan.name[8:] in args.blender]
    return [plan for plan in chosen if plan is not MODEL or model]


def has_model() -> bool:
    """Whether a former run has made the model's environment, which is then kept up to date."""
    return (ROOT / ".venv" / MODEL.name).exists()


def run_setup(args: argparse.Namespace) -> int:
    """Make the environments and say where they are."""
    made, left_out = make_environments(ROOT, plans(args, model=args.model or has_model()))
    for one in made:
        say(f"{one.name}: {one.python}")
    tell(left_out)
    return 0


def run_demo(args: argparse.Namespace) -> int:
    """The main job in every Blender there is; the worst exit code of all."""
    if args.scene and not args.scene.is_file():
        raise InstallError(f"There is no file {args.scene}.", "Give the path of a .blend file.", exit_code=3)
    made, left_out = make_environments(ROOT, plans(args))
    blenders = [one for one in made if one.blender]
    codes = [demo_in(one, args) for one in blenders]
    tell(left_out)
    if not blenders:
        raise InstallError("No Blender could be installed.", "Install Python 3.11 or 3.13 and run this again.")
    return max(codes)


def demo_in(blender: Made, args: argparse.Namespace) -> int:
    """Run `das demo` in one Blender, whose output goes straight to the terminal."""
    folder = args.output.absolute() / blender.name
    say(f"\nBlender {blender.blender}: demo into {folder}")
    scene = ["--scene", args.scene.absolute()] if args.scene else []
    command = [blender.python, "-m", "diffusion_as_shader", "demo", *scene, "-o", folder]
    child = subprocess.Popen([str(word) for word in command], env=clean_environment(), cwd=os.getcwd())
    try:
        code = child.wait()
    finally:
        stop(child)
    return INTERRUPTED if code < 0 else code


def run_test(args: argparse.Namespace) -> int:
    """All tests in all environments, or the soak in the backend's, or those in a window; 0 only if all passed."""
    if args.soak:
        (backend,), _ = make_environments(ROOT, [BACKEND], test=True)
        return run_soak(ROOT, backend, args.arguments)
    wanted = [BACKEND, NEWEST_BLENDER] if args.gui else plans(args, model=not args.without_model)
    made, left_out = make_environments(ROOT, wanted, test=True)
    window = []
    if args.gui or args.with_gui:
        try:
            window = [window_start(made, args.window)]
        except CannotBeHere as error:
            left_out.append(LeftOut("window", error.message))
    tell(left_out)
    if args.gui:
        return run_tests(ROOT, [], [], 1, window) if window else 0
    return run_tests(ROOT, made, args.arguments, args.jobs, window)


def window_start(made: list[Made], room: Path) -> Start:
    """The tests in a real window, ready to be started. Raises CannotBeHere."""
    backend = next(one for one in made if one.name == "backend")
    return Start("window", partial(window_run, ROOT, ready_room(room.absolute()), backend))


def tell(left_out: list[LeftOut]) -> None:
    """Say which environments are missing and what brings them."""
    for one in left_out:
        say(f"Left out {one.name}: {one.reason}")


if __name__ == "__main__":
    sys.exit(main())
