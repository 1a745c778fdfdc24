"""Workers on a Ray cluster of several nodes, all on this machine: placed, watched, and replaced when their node is killed."""

import importlib.util
import re
import socket
import subprocess
import threading

import numpy as np
import psutil
import pytest
from conftest import Backend, assert_frames, environment, expected_frames, follow, frames_of, make_request, submit, until
from ray_nodes import node, start_nodes

from diffusion_as_shader.backend import cluster_join
from diffusion_as_shader.backend.cluster import room
from diffusion_as_shader.backend.engines.projection import ProjectionEngine
from diffusion_as_shader.shared import messages
from diffusion_as_shader.shared.errors import BackendError

SECONDS_TO_SAY_SO = 30.0
NO_RAY = "Ray is not installed: pip install 'diffusion_as_shader[cluster]'"


# ---- without Ray


@pytest.mark.parametrize(
    "nodes, cards, workers, memory, expected",
    [
        ([{"CPU": 8, "GPU": 2}, {"CPU": 8, "GPU": 1}, {"CPU": 8}], True, None, 0, [2, 1, 0]),
        ([{"CPU": 8}, {"CPU": 8}], False, None, 0, [1, 1]),
        ([{"CPU": 8}, {"CPU": 2}], False, 4, 0, [4, 2]),
        ([{"CPU": 8, "GPU": 4}], True, 2, 0, [2]),
        ([{"CPU": 8, "GPU": 4, "memory": 70e9}, {"CPU": 8, "GPU": 1, "memory": 20e9}], True, None, int(30e9), [2, 0]),
        ([{}], False, None, 0, [0]),
    ],
)
def test_room_for_workers(nodes, cards, workers, memory, expected):
    assert room(nodes, cards, workers, memory) == expected


def serve_at(folder, address: str) -> subprocess.CompletedProcess:
    command = [*Backend.command, "--cluster", address]
    return subprocess.run(command, env=environment(folder), capture_output=True, text=True, timeout=SECONDS_TO_SAY_SO)


@pytest.mark.parametrize("address, code, said", [("127.0.0.1:9", 4, "cannot be reached"), ("no-such-host.invalid:6379", 4, "cannot be reached"), ("here", 2, "is no address")])
def test_a_cluster_that_cannot_be_reached_is_told_in_a_sentence(tmp_path, address, code, said):
    told = serve_at(tmp_path, address)
    lines = told.stderr.strip().splitlines()
    assert told.returncode == code and said in lines[0] and len(lines) == 1, told.stderr
    assert not (tmp_path / "connection.json").exists()


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
def test_what_is_no_ray_is_told_too(tmp_path, answer):
    with socket.create_server(("127.0.0.1", 0)) as other:

        def serve():
            line, _ = other.accept()
            with line:
                line.recv(100)
                line.sendall(answer)

        threading.Thread(target=serve, daemon=True).start()
        told = serve_at(tmp_path, f"127.0.0.1:{other.getsockname()[1]}")
    assert told.returncode == 4 and "is not Ray" in told.stderr


# ---- with it


@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason=NO_RAY)
def test_who_answers_and_then_says_nothing_is_not_waited_for(monkeypatch):
    """Ray would wait for a quarter of an hour."""
    monkeypatch.setattr(cluster_join, "SECONDS_TO_JOIN", 4.0)
    for name in ("RAY_AUTH_MODE", "RAY_gcs_rpc_server_reconnect_timeout_s"):
        monkeypatch.setenv(name, "disabled" if name == "RAY_AUTH_MODE" else "60")
    with socket.create_server(("127.0.0.1", 0)) as other:
        threading.Thread(target=answer_and_say_nothing, args=(other,), daemon=True).start()
        with pytest.raises(BackendError, match="cannot be joined: it does not answer within 4 s"):
            cluster_join.join(f"127.0.0.1:{other.getsockname()[1]}", {})


def answer_and_say_nothing(server: socket.socket) -> None:
    lines = []
    while True:
        lines.append(server.accept()[0])
        lines[-1].sendall(bytes((0, 0, 0, 4, 0, 0, 0, 0, 0)))  # HTTP/2's settings


@pytest.fixture(scope="module")
def cluster():
    """A head without room, and two nodes with a card each."""
    with start_nodes(2) as nodes:
        yield nodes


@pytest.fixture(scope="module")
def on_cluster(cluster, tmp_path_factory):
    class OnCluster(Backend):
        command = (*Backend.command, "--cluster", cluster.address)
        seconds_to_start = 120.0

    running = OnCluster(tmp_path_factory.mktemp("on_cluster"))
    until(lambda: len(ready(running)) == 2, 120)
    yield running
    running.stop()


def ready(backend) -> list[int]:
    """The workers' processes, as they became ready."""
    return [int(pid) for pid in re.findall(r"worker (\d+) is ready on", backend.output())]


def test_jobs_run_on_all_nodes_at_once_and_their_frames_are_right(on_cluster):
    with on_cluster.connect() as peer:
        assert [worker.state for worker in peer.welcome.workers] == ["idle", "idle"]
        jobs = [submit(peer, "sleep=0.2", seed=seed) for seed in (1, 2)]
        until(lambda: [peer.status(job).state for job in jobs] == ["running", "running"])
        for seed, job in zip((1, 2), jobs):
            events = follow(peer, job)
            assert_frames(events, expected_frames("sleep=0.2", seed=seed))
            assert events[-1].used == ["tracking"] and events[-1].versions["pattern"] == "1"
    log = on_cluster.output()
    assert "private network only" in log and "this backend has a token" in log


def test_the_projection_on_a_cluster_is_that_of_any_worker(on_cluster):
    request = make_request(engine="projection")
    signals = {"tracking": np.zeros((9, 16, 32, 3), np.uint8), "first_frame": np.full((16, 32, 3), 90, np.uint8)}
    signals["tracking"][:, 4:12, 4:20] = (200, 120, 60)
    with on_cluster.connect() as peer:
        job = "f" * 32
        peer.submit(job, request, signals, title="projection")
        got = frames_of(follow(peer, job))
    engine = ProjectionEngine()
    engine.load(request)
    expected = {event.index: event.pixels for event in engine.generate(request, signals, cancelled=lambda: False) if hasattr(event, "pixels")}
    assert len(expected) == 9 and all((got[index] == pixels).all() for index, pixels in expected.items())


def test_failures_and_cancels_are_the_jobs_only(on_cluster):
    with on_cluster.connect() as peer:
        failed = follow(peer, submit(peer, "fail=3"))[-1]
        assert failed.kind == "engine" and "the pattern is torn" in failed.message
        job = submit(peer, "sleep=1")
        follow(peer, job, last=messages.Frame)
        peer.cancel(job)
        assert isinstance(follow(peer, job)[-1], messages.Cancelled)
        assert peer.release_memory()
        assert_frames(follow(peer, submit(peer)), expected_frames())


def test_a_node_that_is_killed_in_mid_job_loses_nothing_and_nothing_is_done_twice(on_cluster, cluster):
    """Another node goes on with the frames that it had not made; Ray starts its worker again on a node that has room."""
    before = ready(on_cluster)
    with on_cluster.connect() as peer:
        job = submit(peer, "sleep=1", seed=7)
        seen = follow(peer, job, last=messages.Progress)
        seen += follow(peer, job, last=messages.Frame)
        busy = on_node_of(cluster, last_begun(on_cluster, job))
        cluster.remove_node(busy, allow_graceful=False)
        seen += follow(peer, job)
        assert isinstance(seen[-1], messages.Done), seen[-1]
        frames = [event.index for event in seen if isinstance(event, messages.Frame)]
        assert sorted(frames) == list(range(9)), "each frame was made and sent once"
        assert_frames(seen, expected_frames("sleep=1", seed=7))
        (note, _) = seen[-1].notes
        assert "in the middle of attempt 1, and the job was tried again" in note and peer.status(job).attempts == 2
        cluster.add_node(**node(1))
        until(lambda: len(ready(on_cluster)) == len(before) + 1, 120)
        until(lambda: "idle" in worker_states(on_cluster) and "starting" not in worker_states(on_cluster))
        assert_frames(follow(peer, submit(peer, seed=8)), expected_frames(seed=8))


def worker_states(backend) -> list[str]:
    with backend.connect() as peer:
        return [worker.state for worker in peer.welcome.workers]


def last_begun(backend, job: str) -> int:
    """The process of the worker that a job was given to last."""
    return int(re.findall(rf"job {job} begins on worker (\d+)", backend.output())[-1])


def on_node_of(cluster, pid: int):
    """The node whose raylet has started a process."""
    parents = {process.pid for process in psutil.Process(pid).parents()}
    return next(node for node in cluster.worker_nodes if any(entry.process.pid in parents for entry in node.all_processes["raylet"]))


def test_a_cluster_that_ends_leaves_the_server_and_its_jobs(on_cluster, cluster):
    """The last test of the module: there is no cluster after it."""
    with on_cluster.connect() as peer:
        job = submit(peer, "sleep=1", seed=9)
        follow(peer, job, last=messages.Frame)
        cluster.shutdown()
        until(lambda: "Start the cluster again" in on_cluster.output(), 60)
        until(lambda: peer.status(job).state == "queued")
        assert "attempt 1" in peer.status(job).notes[0]
        refused = follow(peer, submit(peer))[-1]
        assert isinstance(refused, messages.Failed) and "Start the cluster again" in refused.fix, refused
    assert worker_states(on_cluster) == [] and on_cluster.process.poll() is None
