"""A good client beside the others: python -m soak.witness FILE asks for the jobs again and again, until its input ends.

Writes when each was asked (monotonic clock) and how long the answer took, in seconds, as JSON. A process of its own, so that nothing but the backend delays it.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from diffusion_as_shader.shared import client, home, wire

SECONDS_BETWEEN = 0.02


def main(file: Path) -> None:
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    times: list[tuple[float, float]] = []
    with client.connect(wire.read_connection(home.connection_file()), "witness") as peer:
        print("here", flush=True)
        while not ended.wait(SECONDS_BETWEEN):
            began = time.monotonic()
            peer.list()
            times.append((began, time.monotonic() - began))
    file.write_text(json.dumps(times))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
