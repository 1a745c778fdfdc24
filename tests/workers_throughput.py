"""How jobs a minute grow with workers, and what a job, a frame and a MB cost beside the card's work.

``python tests/workers_throughput.py [--cluster] [--sleep 1.5] [--times 3] [1 2 4]`` starts workers on this machine, or with --cluster
on a Ray cluster of one node a worker, all on this machine. The engine sleeps in place of a card, 9 frames of 720x480 a job, so
that what is measured is all that is not the card's work. Prints a line for each number of workers, and then the costs.
"""

import argparse
import statistics
import sys
import tempfile
import time
import uuid
from contextlib import ExitStack, contextmanager
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "backend"))

from conftest import Backend, make_request, make_signals, until  # noqa: E402
from ray_nodes import start_nodes  # noqa: E402

from diffusion_as_shader.shared import messages  # noqa: E402

FRAMES, JOBS_A_WORKER, JOBS_FOR_COSTS = 9, 3, 10
SMALL, LARGE = (32, 16), (720, 480)
MB = 1e6


@contextmanager
def workers_running(count: int, on_cluster: bool):
    """A backend whose workers are all ready."""
    with ExitStack() as stack:
        options = ["--workers", str(count)]
        if on_cluster:
            options = ["--cluster", stack.enter_context(start_nodes(count)).address]

        class Several(Backend):
            command = (*Backend.command, *options)
            seconds_to_start = 120.0

        backend = Several(Path(stack.enter_context(tempfile.TemporaryDirectory(ignore_cleanup_errors=True))))
        stack.callback(backend.stop)
        until(lambda: backend.output().count("is ready on") == count, 120)
        yield backend


def seconds_for(backend: Backend, jobs: int, sleep: float, size: tuple[int, int] = LARGE, frames: int = FRAMES) -> float:
    """From handing over the first job to having the last frame of all."""
    request = make_request(f"sleep={sleep}", width=size[0], height=size[1], frames=frames)
    signals, waiting = make_signals(request), {uuid.uuid4().hex for _ in range(jobs)}
    with backend.connect() as peer:
        began = time.monotonic()
        for job in waiting:
            peer.submit(job, request, signals)
        while waiting:
            for job in list(waiting):
                for event in peer.events(job):
                    if isinstance(event, messages.Frame):
                        peer.received(job, event.index)
                    assert not isinstance(event, messages.Failed), event
                    if isinstance(event, messages.Done):
                        waiting.discard(job)
            if waiting:
                peer.wait(next(iter(waiting)), 0.02)
        return time.monotonic() - began


def tell_throughput(count: int, on_cluster: bool, sleep: float, times: int) -> None:
    ideal = JOBS_A_WORKER * FRAMES * sleep
    with workers_running(count, on_cluster) as backend:
        seconds_for(backend, count, 0.0, SMALL)
        took = statistics.median(seconds_for(backend, JOBS_A_WORKER * count, sleep) for _ in range(times))
    print(f"{count} workers: {JOBS_A_WORKER * count} jobs in {took:.1f} s, {ideal / took:.1%} of {ideal:.1f} s of simulated card time", flush=True)


def tell_costs(on_cluster: bool, times: int) -> None:
    """Of one worker that does not sleep: small jobs of 9 and of 97 frames, and large ones of 49, whose MB are those of signals and frames."""
    with workers_running(1, on_cluster) as backend:
        seconds_for(backend, 2, 0.0, LARGE)

        def a_job(size: tuple[int, int], frames: int) -> float:
            return statistics.median(seconds_for(backend, JOBS_FOR_COSTS, 0.0, size, frames) for _ in range(times)) / JOBS_FOR_COSTS

        short, long, large = a_job(SMALL, 9), a_job(SMALL, 97), a_job(LARGE, 49)
    frame = (long - short) / (97 - 9)
    megabytes = 2 * 49 * LARGE[0] * LARGE[1] * 3 / MB
    job = short - 9 * frame
    print(f"one worker that does not sleep: {short * 1e3:.0f} ms a job of 9 small frames, {long * 1e3:.0f} of 97, {large * 1e3:.0f} of 49 large ones")
    print(f"a job {job * 1e3:.0f} ms, a frame {frame * 1e3:.1f} ms, a MB {(large - job - 49 * frame) / megabytes * 1e3:.1f} ms", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workers", type=int, nargs="*", default=[1, 2, 4])
    parser.add_argument("--cluster", action="store_true")
    parser.add_argument("--sleep", type=float, default=1.5)
    parser.add_argument("--times", type=int, default=3)
    args = parser.parse_args()
    tell_costs(args.cluster, args.times)
    for count in args.workers:
        tell_throughput(count, args.cluster, args.sleep, args.times)


if __name__ == "__main__":
    main()
