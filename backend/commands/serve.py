"""das serve: the backend in the foreground, or for as long as somebody holds a lease on it."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from argparse import Namespace

from ...shared import home
from ...shared.backend_process import log_file
from ...shared.report import Reporter
from ..instance import lock_instance
from ..server import Options, Server

LOG_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"


def run(args: Namespace, reporter: Reporter) -> int:
    """Serve until Ctrl-C. AlreadyRunning where this user's backend runs already."""
    options = Options(
        connection_file=args.connection or home.connection_file(),
        spool=home.spool_folder(),
        logs=home.log_folder(),
        host=args.host,
    )
    log_to(logging.StreamHandler(sys.stderr), _log_to_file())
    serve(options)
    return 0


def serve(options: Options) -> None:
    """Run a server, one a user, until it is stopped or no longer needed."""
    lock_instance(home.home() / "backend.lock")
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:  # ZeroMQ needs this one on Windows
        runner.run(_serve(options))


async def _serve(options: Options) -> None:
    server = Server(options)
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
