"""A Ray cluster of several nodes on this machine, for tests."""

import os
import socket
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOKEN = "0123456789abcdef" * 4  # of a cluster that lives as long as a test
AGENT_PORTS = ("metrics_agent_port", "metrics_export_port", "dashboard_agent_listen_port", "runtime_env_agent_port")


def node(room: int) -> dict[str, int]:
    """A node with room for so many workers, on cards that only Ray believes in. On a busy machine Ray does not wait long enough
    for its agents to tell their ports, so they are given."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in AGENT_PORTS]
        ports = dict(zip(AGENT_PORTS, (probe.getsockname()[1] for probe in probes)))
    return {"num_cpus": room, "num_gpus": room, "object_store_memory": 100 << 20, **ports}


@contextmanager
def start_nodes(count: int):
    """A Ray cluster of a head without room, and as many nodes with a card each. Skips the test where Ray is missing."""
    path = f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    with pytest.MonkeyPatch.context() as patched:
        for name, value in {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": TOKEN, "PYTHONPATH": path}.items():
            patched.setenv(name, value)  # Ray reads the mode as it is imported
        pytest.importorskip("ray", reason="Ray is not installed: pip install 'diffusion_as_shader[cluster]'")
        from ray.cluster_utils import Cluster

        nodes = Cluster(initialize_head=True, head_node_args={**node(0), "include_dashboard": False})
        for _ in range(count):
            nodes.add_node(**node(1))
        yield nodes
        nodes.shutdown()
