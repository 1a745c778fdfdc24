"""das serve: the backend in the foreground, or for as long as somebody holds a lease on it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from argparse import Namespace
from collections.abc import Callable

from ...shared import home
from ...shared.backend_process import log_file
from ...shared.errors import UsageError
from ...shared.report import Reporter
from ..instance import lock_instance
from ..server import Options, Server
from ..worker_line import Site

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(args: Namespace, reporter: Reporter) -> int:
    """Serve until Ctrl-C. AlreadyRunning where this user's backend runs already."""
    options = Options(
        connection_file=args.connection or home.connection_file(),
        spool=home.spool_folder(),
        logs=home.log_folder(),
        host=args.host,
        workers=args.workers,
    )
    if args.workers is not None and args.workers < 1:
        raise UsageError(f"{args.workers} workers can do nothing.", "Give --workers 1 or more.")
    if args.worker_memory and not args.cluster:
        raise UsageError("--worker-memory is for a cluster's workers.", "Give --cluster too, or leave it out.")
    log_to(logging.StreamHandler(sys.stderr), _log_to_file())
    serve(options, lambda: _cluster(args))
    return 0


def _cluster(args: Namespace) -> Site | None:
    """The cluster that was asked for. BackendError where it cannot be reached."""
    if not args.cluster:
        return None
    from ..cluster import connect

    return connect(args.cluster, args.workers, args.worker_memory or 0.0)


def serve(options: Options, join: Callable[[], Site | None] = lambda: None) -> None:
    """Run a server, one a user, until it is stopped or no longer needed; where ``join`` says, or on this machine."""
    lock_instance(home.home() / "backend.lock")
    site = join()
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # ZeroMQ needs this one on Windows
        runner.run(_serve(options, site))


async def _serve(options: Options, site: Site | None) -> None:
    server = Server(options, site)
    if sys.platform != "win32":
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, server.stopping.set)
    await server.run()


def log_to(*handlers: logging.Handler) -> None:
    """Send the log to these places."""
    logging.basicConfig(format=LOG_FORMAT, level=logging.INFO, handlers=handlers)


def _log_to_file() -> logging.Handler:
    log_file().parent.mkdir(parents=True, exist_ok=True)
    return logging.FileHandler(log_file(), encoding="utf-8")
