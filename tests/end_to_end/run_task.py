"""Runs a task in the backend's Python: ``run_task.py INPUTS.npz OUTPUTS.npz``, the request as JSON in INPUTS."""

import sys

import msgspec
import numpy as np

from diffusion_as_shader.backend import tasks
from diffusion_as_shader.shared.request import GenerationRequest


def main(given: str, made: str) -> None:
    inputs = dict(np.load(given))
    request = msgspec.json.decode(bytes(inputs.pop("request")), type=GenerationRequest)
    events = tasks.prepare(request, inputs, cancelled=lambda: False)
    np.savez(made, **{event.name: event.array for event in events if isinstance(event, tasks.Signal)})


if __name__ == "__main__":
    main(*sys.argv[1:])
