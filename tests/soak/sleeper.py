"""A client that will be frozen: python -m soak.sleeper JOB SEED, run in a backend's home. It says when it has a frame."""

from __future__ import annotations

import sys
import time

from diffusion_as_shader.shared import messages

from .engine import signals_of
from .player import join
from .talk import ending, make_request


def main(job: str, seed: int) -> None:
    request, have, end = make_request("sleep=0.02", seed=seed, frames=49), set(), None
    peer = join("sleeper")
    peer.submit(job, request, signals_of(request))
    while not isinstance(end, messages.Done):
        peer.wait(job, 0.5)
        seen = peer.events(job)
        for event in seen:
            if isinstance(event, messages.Frame):
                peer.received(job, event.index)
                if not have:
                    print("a frame", flush=True)
                have.add(event.index)
        end = ending(seen)
        if peer.is_gone():
            peer.abandon()
            time.sleep(0.1)
            peer, end = join("sleeper"), None
            peer.attach(job, sorted(have))
    peer.close()
    print("all of it" if len(have) == request.frames else f"{len(have)} frames", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
