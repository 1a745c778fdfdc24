"""A job by hand: submitted, followed to its end, its frames looked at."""

from __future__ import annotations

import time
import uuid

import numpy as np

from diffusion_as_shader.shared import client, messages
from diffusion_as_shader.shared.request import GenerationRequest

from .backend import ENGINE
from .engine import expected, signals_of

ENDS = (messages.Done, messages.Failed, messages.Cancelled)


def make_request(prompt: str = "", **fields) -> GenerationRequest:
    """A small request to the engine of the soak."""
    return GenerationRequest(**{"engine": ENGINE, "width": 32, "height": 16, "frames": 9, "prompt": prompt} | fields)


def submit(peer: client.Client, request: GenerationRequest) -> str:
    """Hand a job over; its id."""
    job = uuid.uuid4().hex
    peer.submit(job, request, signals_of(request))
    return job


def follow(peer: client.Client, job: str, seconds: float) -> list[messages.Message]:
    """A job's events up to its end, frames acknowledged; those so far where there is no end within ``seconds``."""
    seen, end = [], time.monotonic() + seconds
    while time.monotonic() < end and not (seen and isinstance(seen[-1], ENDS)):
        peer.wait(job, 0.1)
        for event in peer.events(job):
            seen.append(event)
            if isinstance(event, messages.Frame):
                peer.received(job, event.index)
    return seen


def ending(seen: list[messages.Message]) -> messages.Message | None:
    """How a job ended, None where it has not."""
    return seen[-1] if seen and isinstance(seen[-1], ENDS) else None


def is_right(seen: list[messages.Message], request: GenerationRequest) -> bool:
    """Done, with every frame, each exactly."""
    frames = {event.index: event.array for event in seen if isinstance(event, messages.Frame)}
    return (
        isinstance(ending(seen), messages.Done)
        and sorted(frames) == list(range(request.frames))
        and all(np.array_equal(frames[index], pixels) for index, pixels in enumerate(expected(request)))
    )
