"""A good client beside the others: python -m soak.witness FILE asks for the jobs again and again, until its input ends.

Writes of each question when it was asked (monotonic clock), how long the answer took, and how long threads of the server and of
this client meanwhile waited for a core that others had, in seconds, as JSON. A process of its own, so that nothing but the backend delays it.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from pathlib import Path

from diffusion_as_shader.shared import client, home, wire

from .steps import queued

SECONDS_BETWEEN = 0.02


def main(file: Path) -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    times: list[tuple[float, float, float]] = []
    connection = wire.read_connection(home.connection_file())
    with client.connect(connection, "witness") as peer:
        print("here", flush=True)
        while not ended.wait(SECONDS_BETWEEN):
            before, began = _queued(connection.pid), time.monotonic()
            peer.list()
            took = time.monotonic() - began
            times.append((began, took, _queued(connection.pid) - before))
    file.write_text(json.dumps(times))


def _queued(server: int) -> float:
    return queued(server) + queued(os.getpid())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
