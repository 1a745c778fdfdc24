"""A Ray cluster as a place for workers: one on each card of its machines, or one on each machine where there is no card.

How many there can be follows from what Ray tells of its machines; where each goes, and where again after its machine is
gone, Ray decides.
"""

from __future__ import annotations

import asyncio
import logging
import os
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path

from ..shared.errors import BackendError, UsageError, first_line
from .cluster_probe import check_reachable
from .worker_line import Device, Hear

SECONDS_BETWEEN_LOOKS = 5.0
THREADS = 4  # of an actor: one runs a job, one keeps the line, two are told things
PASSED_ON = ("DAS_EXTRA_ENGINES", "DAS_IDLE_SECONDS")
GB = 10**9
OUTSIDE = (
    "Ray's own ports, on all machines of the cluster, stand outside our encryption: use a private network only. "
    "Whoever reaches them can run programs there, unless every machine was started with RAY_AUTH_MODE=token; this backend %s"
)

log = logging.getLogger(__name__)


def connect(address: str, workers: int | None, worker_gb: float) -> Cluster:
    """Join the cluster at ``auto`` or HOST:PORT. BackendError where it cannot be reached, in bounded time."""
    host_and_port = known_address() if address == "auto" else address
    check_reachable(host_and_port)
    os.environ.setdefault("RAY_AUTH_MODE", "token")  # read as ray is imported
    try:
        import ray
    except ImportError:
        raise BackendError(
            "--cluster needs Ray, which this Python does not have.", "Install it with: pip install 'diffusion_as_shader[cluster]'."
        ) from None
    try:
        ray.init(host_and_port, namespace="diffusion_as_shader", configure_logging=False, log_to_driver=False, runtime_env=_variables())
    except ray.exceptions.AuthenticationError:
        raise BackendError(
            f"The Ray cluster at {host_and_port} cannot be joined without its token.",
            "Copy ~/.ray/auth_token from its first machine, or set RAY_AUTH_MODE=disabled where it has none.",
        ) from None
    except (ConnectionError, RuntimeError, ValueError, SystemExit) as error:
        said = first_line(error) if isinstance(error, Exception) else "it does not answer"
        raise BackendError(
            f"The Ray cluster at {host_and_port} cannot be joined: {said}.",
            "Use the same Python, Ray and token on all its machines, and see docs/cluster.md.",
        ) from None
    log.warning(OUTSIDE, "has a token" if os.environ["RAY_AUTH_MODE"] == "token" else "has none")
    return Cluster(workers, int(worker_gb * GB))


def known_address() -> str:
    """Of the cluster that this machine belongs to, as Ray itself finds it. BackendError where it belongs to none."""
    if told := os.environ.get("RAY_ADDRESS", "").removeprefix("ray://"):
        return told
    file = Path(os.environ.get("RAY_TMPDIR", tempfile.gettempdir())) / "ray" / "ray_current_cluster"
    try:
        return file.read_text().strip()
    except FileNotFoundError:
        raise BackendError(
            "No Ray cluster runs on this machine.", "Start one with ray start --head, or give --cluster HOST:PORT of one elsewhere."
        ) from None


def _variables() -> dict | None:
    told = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    return {"env_vars": told} if told else None


class Cluster:
    """worker_line.Site on a cluster. ``workers`` a machine at most; each is given ``memory`` bytes of main memory.

    UsageError where no machine has room for one.
    """

    def __init__(self, workers: int | None, memory: int):
        self._workers, self._memory = workers, memory
        self._looked = 0.0
        self._running: dict[Device, tuple] = {}  # the actor of each device and the line to it
        self._count()
        if not self._devices:
            raise UsageError("No machine of the cluster has room for a worker.", "Ask for less with --worker-memory, or add machines.")

    def devices(self) -> list[Device]:
        return self._devices

    def start(self, device: Device, hear: Hear):
        from .cluster_worker import ClusterWorker

        actor, before = self._running.get(device, (None, None))
        if actor is None or before.killed:
            actor = self._new_actor()
        line = ClusterWorker(actor, hear)
        self._running[device] = actor, line
        return line

    async def look(self) -> dict[Device, int]:
        if time.monotonic() - self._looked >= SECONDS_BETWEEN_LOOKS:
            self._looked = time.monotonic()
            await asyncio.to_thread(self._count)
            self._let_go()
        return {}

    async def close(self) -> None:
        import ray

        await asyncio.to_thread(ray.shutdown)  # all actors are this process's, and end with it

    def _count(self) -> None:
        import ray

        nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
        self._cards = any(node.get("GPU", 0) >= 1 for node in nodes)
        count = sum(room(nodes, self._cards, self._workers, self._memory))
        self._devices = [Device(f"cluster worker {number + 1}") for number in range(count)]

    def _let_go(self) -> None:
        """An actor of a device that is no more shall not take room from another's."""
        import ray

        for device, (actor, line) in list(self._running.items()):
            if device not in self._devices and line.over:
                ray.kill(actor)
                del self._running[device]

    def _new_actor(self):
        import ray

        from .cluster_actor import ClusterActor

        return (
            ray.remote(ClusterActor)
            .options(
                num_cpus=1,
                num_gpus=1 if self._cards else 0,
                memory=self._memory or None,
                max_restarts=-1,
                max_concurrency=THREADS,
                scheduling_strategy="SPREAD",
            )
            .remote()
        )


def room(nodes: Iterable[dict[str, float]], cards: bool, workers: int | None, memory: int) -> list[int]:
    """For how many workers each machine of a cluster has room, by its Ray resources (CPU, GPU, memory in bytes)."""
    return [_room(node, cards, workers, memory) for node in nodes]


def _room(node: dict[str, float], cards: bool, workers: int | None, memory: int) -> int:
    most = [int(node.get("CPU", 0)), int(node.get("memory", 0) // memory) if memory else workers or 1 << 10]
    wanted = int(node.get("GPU", 0)) if cards else workers or 1
    return min(wanted, workers or wanted, *most)
