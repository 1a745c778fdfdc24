"""Leases and pace by an injected clock."""

import pytest

from diffusion_as_shader.backend.leases import STARTING_SECONDS, Leases
from diffusion_as_shader.backend.pace import SECONDS_BETWEEN_REPORTS, Pace


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_new_backend_waits_for_its_first_lease(clock):
    leases = Leases(10, clock)
    clock.now += STARTING_SECONDS - 1
    assert leases.needed()
    clock.now += 2
    assert not leases.needed()


def test_the_last_lost_lease_leaves_some_seconds(clock):
    leases = Leases(10, clock)
    leases.take("a")
    leases.take("b")
    clock.now += 1000
    leases.lose("a")
    clock.now += 1000
    assert leases.needed()
    leases.lose("b")
    clock.now += 9
    assert leases.needed()
    clock.now += 2
    assert not leases.needed()


def test_who_comes_back_in_time_keeps_it(clock):
    leases = Leases(10, clock)
    leases.take("a")
    clock.now += 50
    leases.lose("a")
    clock.now += 9
    leases.take("a")
    clock.now += 500
    assert leases.needed()


def test_the_last_released_lease_ends_it_at_once(clock):
    leases = Leases(10, clock)
    leases.take("a")
    leases.take("b")
    leases.release("b")
    assert leases.needed()
    leases.release("a")
    assert not leases.needed()


def test_without_leases_it_is_needed_for_ever(clock):
    leases = Leases(None, clock)
    leases.take("a")
    leases.release("a")
    clock.now += 1e6
    assert leases.needed()


def test_eta_is_the_median_of_measured_steps(clock):
    pace = Pace(clock)
    assert pace.eta("warp", 0, 10) is None
    for step, seconds in enumerate((1.0, 1.0, 30.0, 1.0), start=1):
        clock.now += seconds
        eta = pace.eta("warp", step, 10)
    assert eta == pytest.approx(6.0)
    assert pace.eta("fill", 1, 10) is None


def test_reports_are_not_sent_too_often_but_the_first_and_the_last_are(clock):
    pace = Pace(clock)
    due = []
    for step in range(1, 101):
        clock.now += SECONDS_BETWEEN_REPORTS / 10
        pace.eta("warp", step, 100)
        due.append(pace.due(step, 100))
    assert due[0] and due[-1]
    assert 10 <= sum(due) <= 12
