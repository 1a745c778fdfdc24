"""Jobs of many clients, while worker, server and clients are killed at random: nothing acknowledged is lost.

Half of the jobs goes to a backend that runs by itself (``das serve``), half to one that the clients start, hold by
their leases and start again when it is gone.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import get_args

import msgspec

from diffusion_as_shader.backend.instance import AlreadyRunning, lock_instance
from diffusion_as_shader.shared import wire
from diffusion_as_shader.shared.processes import pid_alive

from .audit import Audit, remember_history
from .backend import SECONDS, Backend, environment, know_backend, last_worker
from .journal import Ledger, Reader
from .options import Broken, Options
from .plan import Plan, Strike, Victim, make_plan
from .processes import freeze, kill, until

SECONDS_BETWEEN_LOOKS = 0.02
SECONDS_TO_HANG = 5.0


def run(options: Options, folder: Path) -> Iterator[str]:
    """Both halves; their figures. Broken with what is broken in either."""
    broken = []
    for kind in (Served, Leased):
        name = kind.__name__.lower()
        (folder / name).mkdir()
        plan = make_plan(f"{name} {options.seed}", max(1, options.jobs // 2), options.clients)
        try:
            yield from (f"{name}: {figure}" for figure in kind(plan, folder / name, options.seconds).run())
        except Broken as error:
            broken += [f"{name}: {sentence}" for sentence in error.sentences]
    if broken:
        raise Broken(broken)


class Campaign:
    """One plan being carried out: the clients' processes, and the strikes against them and the backend."""

    def __init__(self, plan: Plan, folder: Path, patience: float):
        self.plan = plan
        self.folder = folder
        self.audit: Audit | None = None  # of what was there once the plan had been carried out
        self.ledgers: list[Ledger] = []
        self.variables: dict[str, str] = {"DAS_HANG_SECONDS": str(SECONDS_TO_HANG)}
        self.struck = dict.fromkeys(get_args(Victim), 0)
        self._patience = patience
        self._readers = [Reader(folder / f"journal {number}") for number in range(len(plan.clients))]
        self._players: list[subprocess.Popen] = []
        (folder / "plan.json").write_bytes(msgspec.json.encode(plan))
        know_backend(folder)
        remember_history(folder / "spool")

    def run(self) -> list[str]:
        """Carry the plan out and look at what is left; Broken, with the end of the log, where a promise is."""
        began = time.monotonic()
        self._start_backend()
        try:
            self._players = [self._play(number) for number in range(len(self.plan.clients))]
            for strike in self.plan.strikes:
                self._wait_for(lambda strike=strike: self._progress() >= strike.at)
                self._carry_out(strike)
            self._wait_for(self._all_home)
            self._end_backend()
        finally:
            self._clear_up()
        took = time.monotonic() - began
        leaves = sum(reader.ledger.leaves for reader in self._readers)
        losses = leaves + self.struck["server"] + self.struck["client"]
        self.ledgers = [reader.read() for reader in self._readers]
        audit = self.audit = Audit(self.plan, self.ledgers, self.folder, self.log(), losses, self.forgets)
        if audit.broken:
            raise Broken(audit.broken)
        kills = ", ".join(f"{count} {victim}" for victim, count in self.struck.items() if count)
        return [*audit.figures, f"struck: {kills}; {leaves} times a client left and came back; {took:.0f} s"]

    # ---- what the two kinds of backend differ in

    words: tuple[str, ...] = ()
    forgets = False  # whether ended jobs may be forgotten meanwhile

    def _start_backend(self) -> None:
        raise NotImplementedError

    def _strike_server(self, strike: Strike) -> None:
        raise NotImplementedError

    def _end_backend(self) -> None:
        raise NotImplementedError

    def log(self) -> str:
        raise NotImplementedError

    def _server_pid(self) -> int:
        published = wire.read_connection(self.folder / "connection.json")
        return published.pid if published else 0

    # ---- clients

    def _play(self, number: int) -> subprocess.Popen:
        command = [sys.executable, "-m", "soak.player", "plan.json", str(number), f"journal {number}", *self.words]
        with (self.folder / "players.txt").open("ab") as output:
            return subprocess.Popen(
                command, cwd=self.folder, env=environment(self.folder, **self.variables), stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )

    def _all_home(self) -> bool:
        return all(player.poll() == 0 for player in self._players)

    def _wait_for(self, happened) -> None:
        """Wait while something goes on; Broken where nothing does, or a client cannot go on."""
        before, since = None, time.monotonic()
        while not happened() and not self._all_home():
            for number, player in enumerate(self._players):
                if player.poll() not in (None, 0):
                    raise Broken([f"Client {number} ended with code {player.returncode}.", self._last_words()])
            now = [len(reader.read().again) + reader.ledger.frame_count + len(reader.ledger.ends) for reader in self._readers]
            if now != before:
                before, since = now, time.monotonic()
            if time.monotonic() - since > self._patience:
                raise Broken([f"Nothing has happened for {self._patience:.0f} s: {self._open()}", self._last_words()])
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _progress(self) -> int:
        """Frames that have come, those counted in that a job which has ended will never bring."""
        return sum(_frames_over(client.jobs, reader.read()) for client, reader in zip(self.plan.clients, self._readers))

    def _open(self) -> str:
        ended = {job for reader in self._readers for job, ends in reader.read().ends.items() if ends}
        return ", ".join(job.job for job in self.plan.jobs if job.job not in ended) or "all jobs have ended"

    def _last_words(self) -> str:
        players = (self.folder / "players.txt").read_text(errors="replace")
        return f"--- clients\n{players[-3000:]}\n--- backend\n{self.log()[-3000:]}"

    # ---- strikes

    def _carry_out(self, strike: Strike) -> None:
        time.sleep(strike.delay)
        if strike.victim == "client":
            self._strike_client(strike)
        elif strike.victim == "server":
            self._strike_server(strike)
        elif pid_alive(pid := last_worker(self.log())):
            self.struck[strike.victim] += (freeze if strike.victim == "hung worker" else kill)(pid)

    def _strike_client(self, strike: Strike) -> None:
        """One of those that still play, killed and started again."""
        playing = [number for number, player in enumerate(self._players) if player.poll() is None]
        if playing:
            number = playing[strike.which % len(playing)]
            self._players[number].kill()
            self._players[number].wait(SECONDS)
            self.struck["client"] += 1
            time.sleep(strike.pause)
            self._players[number] = self._play(number)

    def _clear_up(self) -> None:
        for player in self._players:
            player.kill()
            player.wait(SECONDS)


class Served(Campaign):
    """The backend is `das serve`, which somebody starts again."""

    def _start_backend(self) -> None:
        self._backend = Backend(self.folder, **self.variables)

    def _strike_server(self, strike: Strike) -> None:
        if strike.gently:
            assert self._backend.stop() == 0, self._last_words()
        else:
            self._backend.kill()
        self.struck["server"] += 1
        time.sleep(strike.pause)
        self._backend.start()

    def _end_backend(self) -> None:
        assert self._backend.stop() == 0, self._last_words()
        assert not (self.folder / "connection.json").exists(), "a backend that has ended leaves its connection file"

    def _clear_up(self) -> None:
        super()._clear_up()
        self._backend.kill()

    def log(self) -> str:
        return self._backend.output()


class Leased(Campaign):
    """The clients start the backend and hold it; it ends with the last of them."""

    words = ("start",)

    def _start_backend(self) -> None:
        pass

    def _strike_server(self, strike: Strike) -> None:
        """The backend that runs, or, where the last one has just ended, the next that a client starts."""
        self._wait_for(self._killed_server)

    def _killed_server(self) -> bool:
        running = not self._is_gone() and (pid := self._server_pid())
        killed = bool(running) and kill(pid)
        self.struck["server"] += killed
        return killed

    def _end_backend(self) -> None:
        until(self._is_gone, SECONDS, "a backend that nobody holds has ended")

    def _is_gone(self) -> bool:
        """No backend runs any more, not even one that is just ending: nobody holds its lock. One that was killed leaves its connection file."""
        try:
            os.close(lock_instance(self.folder / "backend.lock"))
        except AlreadyRunning:
            return False
        return True

    def _clear_up(self) -> None:
        super()._clear_up()
        if pid := self._server_pid():
            kill(pid)

    def log(self) -> str:
        file = self.folder / "logs" / "backend.log"
        return file.read_text(errors="replace") if file.exists() else ""


def _frames_over(jobs, ledger: Ledger) -> int:
    return sum(job.frames if ledger.ends[job.job] else len(ledger.frames[job.job]) for job in jobs)
