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
from .cluster_join import join
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
    join(host_and_port, {name: os.environ[name] for name in PASSED_ON if name in os.environ})
    log.warning(OUTSIDE, "has a token" if os.environ["RAY_AUTH_MODE"] == "token" else "has none")
    return Cluster(host_and_port, workers, int(worker_gb * GB))


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


class Cluster:
    """worker_line.Site on a cluster. ``workers`` a machine at most; each is given ``memory`` bytes of main memory.

    UsageError where no machine has room for one. A cluster that is ``lost`` has no devices.
    """

    def __init__(self, address: str, workers: int | None, memory: int):
        self.lost: BackendError | None = None
        self._address, self._workers, self._memory = address, workers, memory
        self._looked = 0.0
        self._running: dict[Device, tuple] = {}  # the actor of each device and the line to it
        self._count()
        if not self._devices:
            raise self.lost or UsageError("No machine of the cluster has room for a worker.", "Ask for less with --worker-memory, or add machines.")

    def devices(self) -> list[Device]:
        return self._devices

    def start(self, device: Device, hear: Hear):
        from .cluster_worker import ClusterWorker

        actor, before = self._running.get(device, (None, None))
        if actor is None or before.killed:
            actor = self._new_actor()
        line = ClusterWorker(actor, hear, self)
        self._running[device] = actor, line
        return line

    async def look(self) -> dict[Device, int]:
        if time.monotonic() - self._looked >= SECONDS_BETWEEN_LOOKS:
            await self.recount()
            await asyncio.to_thread(self._let_go)
        return {}

    async def recount(self) -> None:
        """See now which machines there are."""
        self._looked = time.monotonic()
        await asyncio.to_thread(self._count)

    async def close(self) -> None:
        if not self.lost:
            import ray

            await asyncio.to_thread(ray.shutdown)  # all actors are this process's, and end with it

    def _count(self) -> None:
        nodes = self._nodes()
        self._cards = any(node.get("GPU", 0) >= 1 for node in nodes)
        count = sum(room(nodes, self._cards, self._workers, self._memory))
        self._devices = [Device(f"cluster worker {number + 1}") for number in range(count)]

    def _nodes(self) -> list[dict[str, float]]:
        """What each machine has; none while the cluster cannot be reached, or once it has ended."""
        import ray

        try:
            check_reachable(self._address)
            nodes = [node for node in ray.nodes() if node["Alive"]]
        except BackendError as error:
            return self._lose(error.message)
        except ray.exceptions.RayError as error:
            return self._lose(f"The Ray cluster at {self._address} does not answer: {first_line(error)}.")
        if ray.get_runtime_context().get_node_id() not in {node["NodeID"] for node in nodes}:
            return self._lose(f"This machine belongs to the Ray cluster at {self._address} no more.")
        self.lost = None
        return [node["Resources"] for node in nodes]

    def _lose(self, why: str) -> list:
        if not self.lost:
            self.lost = BackendError(why, "Start the cluster again, and then this backend: the jobs that wait here will go on.")
            log.error("%s", self.lost)
        return []

    def _let_go(self) -> None:
        """An actor of a device that is no more shall not take room from another's."""
        import ray

        if self.lost:
            return
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
