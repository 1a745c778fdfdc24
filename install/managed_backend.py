"""python install/managed_backend.py install | remove | clean: the backend's environment that Blender's Preferences look after.

    DAS_HOME/backend/VERSION-HASH/
        das-environment.json     the stamp: what it was made from, and whether it is ready
        code/diffusion_as_shader a copy of backend/, shared/ and install/, so that an update of the add-on changes nothing here
        env                      a Python with the packages, which finds code/ by a .pth file

Each install makes a new one beside the old and puts it into environments.json as its last act. What fails or is stopped
before that is removed, and the old one goes on as if nothing had been. An old one goes once no process runs from it.

What goes on is told as JSON lines on standard output, and what pip says is kept in DAS_HOME/logs/backend-install.log.
With --attached it ends, everything undone, when its standard input closes: when Blender cancels it, or ends itself.
"""

from __future__ import annotations

import argparse
import _thread
import json
import os
import signal
import sys
import threading
from pathlib import Path

if not __package__:  # run as a script: its siblings are the package `install` of the root
    sys.path[0] = str(Path(__file__).resolve().parents[1])
    __package__ = "install"

from .backend_environment import KINDS, Work, clean, install, remove_all  # noqa: E402
from .environments import read_stamp  # noqa: E402
from .errors import InstallError  # noqa: E402
from .home import home  # noqa: E402

ROOT = Path(__file__).resolve().parents[1]
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """One action; its exit code."""
    args = parser().parse_args(argv)
    signal.signal(signal.SIGTERM, interrupt)
    if args.attached:
        threading.Thread(target=wait_for_end_of_input, daemon=True).start()
    work = Work(args.home, tell)
    try:
        act(args, work)
    except InstallError as error:
        tell("error", message=error.message, fix=error.fix)
        return error.exit_code
    except OSError as error:
        tell("error", message=f"{error.filename or args.home}: {error.strerror or error}.", fix="Free some space there, and try again.")
        return 1
    except KeyboardInterrupt:
        tell("cancelled")
        return INTERRUPTED
    return 0


def act(args: argparse.Namespace, work: Work) -> None:
    """Do what is asked for, and tell its result."""
    if args.action == "install":
        made = install(ROOT, work, KINDS[args.kind], args.python, again=args.again)
        tell("result", place=str(made), left=clean(work), notes=read_stamp(made).get("notes", []))
    elif args.action == "remove":
        tell("result", left=remove_all(work))
    else:
        tell("result", left=clean(work))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    whole = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    whole.add_argument("action", choices=("install", "remove", "clean"))
    whole.add_argument("--kind", choices=KINDS, default="projection", help="default: %(default)s")
    whole.add_argument("--python", metavar="FILE", default="", help="default: the one that runs this, or else one that is found")
    whole.add_argument("--again", action="store_true", help="also where an environment of this very version stands: repair it")
    whole.add_argument("--home", type=Path, default=home(), metavar="FOLDER", help="default: %(default)s")
    whole.add_argument("--attached", action="store_true", help="end, everything undone, when standard input closes")
    return whole


def tell(event: str, **fields) -> None:
    """One line for whoever has started this."""
    print(json.dumps({"event": event, **fields}), flush=True)


def interrupt(signum: int, frame: object) -> None:
    """SIGTERM ends like Ctrl-C: everything undone."""
    raise KeyboardInterrupt


def wait_for_end_of_input() -> None:
    """On every system the one way to hear that somebody wants an end, or has met it."""
    while os.read(0, 1024):  # not by sys.stdin, whose lock this thread would still hold when Python ends
        pass
    _thread.interrupt_main()


if __name__ == "__main__":
    sys.exit(main())
