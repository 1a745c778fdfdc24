"""The backend that is soaked: started as users start it, in a home of its own, with the engine of the soak."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import msgspec

from diffusion_as_shader.shared import client, home, wire

from .processes import until

TESTS = Path(__file__).resolve().parents[1]
ENGINE, ANEW = "soak", "soak_anew"  # one resumes a job, the other makes all of it anew
SECONDS = 60.0


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Variables of a backend and of the clients that may start one: its home and the engine."""
    paths = [more.pop("PYTHONPATH", ""), str(TESTS), str(TESTS / "backend"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return {
        **os.environ,
        "DAS_HOME": str(folder),
        "DAS_EXTRA_ENGINES": f"{ENGINE}=soak.engine:SoakEngine,{ANEW}=soak.engine:AnewEngine",
        "PYTHONPATH": os.pathsep.join(path for path in paths if path),
        **more,
    }


def know_backend(folder: Path) -> None:
    """Write the home's environments.json, by which clients start a backend with this Python."""
    known = home.Environments(environments=[home.Environment("backend", "soak", sys.executable)])
    (folder / "environments.json").write_bytes(msgspec.json.encode(known))


class Backend:
    """``das serve`` in the home ``folder``, or one that is held by leases. ``more`` are further variables."""

    def __init__(self, folder: Path, lease: float | None = None, **more: str):
        self.folder = folder
        self.lease = lease
        self._more = more
        self.start()

    def start(self) -> None:
        options = ["--lease", str(self.lease)] if self.lease is not None else []
        command = [sys.executable, "-m", "diffusion_as_shader.backend", "serve", *options]
        with (self.folder / "output.txt").open("ab") as output:
            self.process = subprocess.Popen(
                command, env=environment(self.folder, **self._more), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        self.connection = until(self._published, SECONDS, "a backend that has started")

    def _published(self) -> wire.ConnectionFile | None:
        assert self.process.poll() is None, f"the backend ended as it started:\n{self.output()[-2000:]}"
        found = wire.read_connection(self.folder / "connection.json")
        return found if found and found.pid == self.process.pid else None

    def output(self) -> str:
        return (self.folder / "output.txt").read_text(errors="replace")

    def worker_pid(self) -> int:
        """The process of the worker that became ready last."""
        return last_worker(self.output())

    def connect(self, name: str = "soak") -> client.Client:
        return client.connect(self.connection, name, SECONDS)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(SECONDS)

    def stop(self) -> int:
        """Ask it to end, and its exit code; what does not heed is killed, which is an error."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise

    def __enter__(self) -> Backend:
        return self

    def __exit__(self, *error) -> None:
        self.stop()


def last_worker(log: str) -> int:
    """The worker that a log names last as ready, 0 where it names none."""
    return int(([0] + re.findall(r"worker (\d+) is ready", log))[-1])
