"""``python -m diffusion_as_shader.backend``: what the backend's processes are started by, and ``das`` otherwise."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from ..shared import home
from ..shared.backend_process import ALREADY_RUNNING_CODE


def main(argv: list[str]) -> int:
    """``serve --lease SECONDS`` and ``worker`` are for processes that start processes; the rest is the command line."""
    if argv[:1] == ["worker"]:
        return _worker()
    if argv[:1] == ["serve"] and "--lease" in argv:
        return _leased(argv[1:])
    from ..shared import cli

    return cli.main(argv)


def _worker() -> int:
    from . import worker_socket

    return worker_socket.main()


def _leased(argv: list[str]) -> int:
    import logging

    from .commands.serve import Options, log_to, serve
    from .instance import AlreadyRunning

    parser = argparse.ArgumentParser(prog="serve")
    parser.add_argument("--lease", type=float, required=True)
    parser.add_argument("--connection", type=Path, default=home.connection_file())
    args = parser.parse_args(argv)
    log_to(logging.StreamHandler(sys.stderr))
    try:
        folders = {"spool": home.spool_folder(), "logs": home.log_folder()}
        serve(Options(connection_file=args.connection, lease_seconds=args.lease, **folders))
    except AlreadyRunning:
        return ALREADY_RUNNING_CODE
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
