"""ZeroMQ alone: python -m soak.receiver takes messages and answers each with one byte. Keys, or null, come by standard input."""

from __future__ import annotations

import json
import sys

import zmq

from diffusion_as_shader.shared import wire


def main() -> None:
    keys = json.loads(sys.stdin.readline())
    with zmq.Context() as context, context.socket(zmq.ROUTER) as router:
        if keys:
            wire.serve_curve(router, keys[1], "soak")
            router.zap_enforce_domain = False  # nobody is asked who may come in: only the line is measured
        router.bind("tcp://127.0.0.1:0")
        print(router.last_endpoint.decode(), flush=True)
        while True:
            sender, *_ = router.recv_multipart(copy=False)
            router.send_multipart([bytes(sender), b"."])


if __name__ == "__main__":
    main()
