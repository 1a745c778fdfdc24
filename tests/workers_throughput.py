"""How jobs a minute grow with workers: ``python tests/workers_throughput.py [1 2 4]``.

The engine sleeps in place of a card: 9 frames of 720x480, 0.6 s each, so that what is measured is all that is not the card's
work. Prints a line for each number of workers on this machine.
"""

import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "backend"))

from conftest import Backend, follow, submit, until  # noqa: E402

from diffusion_as_shader.shared import messages  # noqa: E402

SLEEP, FRAMES, JOBS_A_WORKER = 0.6, 9, 3


def seconds_for(workers: int) -> float:
    """All jobs of one run: from handing over the first to having the last frame of all."""

    class Several(Backend):
        command = (*Backend.command, "--workers", str(workers))
        seconds_to_start = 120.0

    with tempfile.TemporaryDirectory() as folder:
        backend = Several(Path(folder))
        try:
            until(lambda: backend.output().count("is ready on") == workers, 120)
            with backend.connect() as peer:
                began = time.monotonic()
                jobs = [submit(peer, f"sleep={SLEEP}", width=720, height=480, seed=seed) for seed in range(JOBS_A_WORKER * workers)]
                ends = [follow(peer, job)[-1] for job in jobs]
                took = time.monotonic() - began
        finally:
            backend.stop()
    assert all(isinstance(end, messages.Done) for end in ends), ends
    return took


def main(counts: list[int]) -> None:
    ideal = JOBS_A_WORKER * FRAMES * SLEEP
    for workers in counts:
        took = seconds_for(workers)
        print(f"{workers} workers: {JOBS_A_WORKER * workers} jobs in {took:.1f} s, {ideal / took:.0%} of {ideal:.1f} s of simulated card time", flush=True)


if __name__ == "__main__":
    main([int(word) for word in sys.argv[1:]] or [1, 2, 4])
