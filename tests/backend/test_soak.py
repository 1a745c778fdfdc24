"""The soak in short: the same promises, a few jobs, a few faults. All of it: python3 install/run.py test --soak."""

import sys
from pathlib import Path

import msgspec
import pytest

sys.path.append(str(Path(__file__).resolve().parents[1]))  # behind tests/backend: both have a conftest

from soak import audit, clock, disk, payload, readers  # noqa: E402
from soak.backend import Backend  # noqa: E402
from soak.jobs import Leased, Served  # noqa: E402
from soak.options import Broken, Options  # noqa: E402
from soak.plan import make_plan  # noqa: E402

SECONDS = 60.0
FEW = Options(seed=7, seconds=SECONDS, rounds=1)


def small_plan(seed: str, jobs: int = 8, clients: int = 2):
    """One of each kill, on the first half of the way, so that each meets somebody; a worker that hangs takes its time and has tests of its own."""
    plan = make_plan(seed, jobs, clients)
    strikes = [msgspec.structs.replace(strike, at=strike.at // 2) for strike in plan.strikes if strike.victim != "hung worker"]
    return msgspec.structs.replace(plan, strikes=strikes)


def show(figures) -> None:
    for figure in figures:
        print(figure)


@pytest.mark.parametrize("kind", [Served, Leased])
def test_jobs_survive_kills_of_everybody(tmp_path, kind):
    campaign = kind(small_plan(f"short {kind.__name__}"), tmp_path, SECONDS)
    show(campaign.run())
    assert campaign.struck["server"] and campaign.struck["client"]


def test_a_plan_follows_from_its_seed():
    assert make_plan("7", 20, 3) == make_plan("7", 20, 3) != make_plan("8", 20, 3)


def test_the_audit_notices_what_is_missing_wrong_or_ended_twice(tmp_path):
    """The judge is judged: an honest run, then its journals and the queue's file are spoilt one by one."""
    plan = clock.peaceful(make_plan("judged", 2, 1), jumps=0)
    campaign = Served(plan, tmp_path, SECONDS)
    campaign.run()
    job, (ledger,) = plan.jobs[0], campaign.ledgers

    def said() -> str:
        return " ".join(audit.Audit(plan, [ledger], tmp_path, campaign.log(), 0).broken)

    assert said() == ""
    right = ledger.frames[job.job].pop(3)
    assert "without its frames [3]" in said()
    ledger.frames[job.job][3] = "0" * 64
    assert "wrong frames [3]" in said()
    ledger.frames[job.job][3] = right
    ledger.ends[job.job].append("failed engine: no")
    assert "was told to its client as" in said()
    ledger.ends[job.job].pop()
    audit.change(tmp_path / "spool", f"INSERT INTO history (job, old, new) VALUES ('{job.job}', 'done', 'done')")
    assert "ended 2 times" in said()
    audit.change(tmp_path / "spool", f"DELETE FROM jobs WHERE id = '{job.job}'")
    assert "is not in the queue's file" in said()


def test_a_full_disk_fails_jobs_and_nothing_else(tmp_path):
    show(disk.sweep_writes(tmp_path / "home", FEW, every=13))


def test_clocks_that_jump(tmp_path):
    plan = clock.peaceful(make_plan("jumps", 3, 1), jumps=5)
    campaign = clock.ServedJumping(plan, tmp_path, SECONDS)
    show(campaign.run())
    assert campaign.struck["clock"] == 5 and not campaign.audit.tried_again


def test_a_clients_clock_that_jumps(tmp_path):
    show(clock.jump_at_the_client(tmp_path / "home", FEW, jumps=2))


def test_who_reads_slowly_or_never_costs_little(tmp_path):
    with Backend(tmp_path) as backend:
        show(readers.slow_reader(backend, FEW, jobs=1, frames=17))
        show(readers.never_reads(backend, FEW, questions=1500, jobs=3))


def test_a_backend_takes_payloads_back_to_back(tmp_path):
    show(payload.run(FEW, tmp_path, frames=9))


def test_what_is_broken_is_told_in_full():
    assert str(Broken(["One.", "Two."])) == "One.\nTwo."
