"""Progress of work in a thread."""

import threading
import time

import pytest

from diffusion_as_shader.backend.engines import Progress
from diffusion_as_shader.backend.tasks.progress import told
from diffusion_as_shader.shared.errors import Cancelled


def counting(total):
    def work(progress, cancelled):
        for step in range(total):
            if cancelled():
                raise Cancelled("Left.")
            progress(step + 1, total)
        return "made"

    return work


def endless(progress, cancelled):
    end = time.monotonic() + 20
    while time.monotonic() < end:
        if cancelled():
            raise Cancelled("Left.")
        time.sleep(0.01)
    pytest.fail("it was not told")


def test_steps_in_order_and_the_result():
    steps = []

    def all_of():
        steps.append((yield from told("count", counting(3), lambda: False)))

    assert list(all_of()) == [Progress("count", step, 3) for step in (1, 2, 3)] and steps == ["made"]


def test_the_callers_question_is_asked_in_its_own_thread_and_ends_the_work():
    """A worker asks a socket, which only one thread may use."""
    asked = []

    def cancelled() -> bool:
        asked.append(threading.current_thread())
        return len(asked) > 2

    with pytest.raises(Cancelled):
        list(told("wait", endless, cancelled))
    assert set(asked) == {threading.current_thread()}


def test_who_leaves_early_waits_for_the_work_to_end():
    before = threading.active_count()
    going = told("count", lambda progress, cancelled: (progress(1, 2), endless(progress, cancelled)), lambda: False)
    next(going)
    going.close()
    assert threading.active_count() == before


def test_an_error_of_the_work_is_the_callers():
    with pytest.raises(ZeroDivisionError):
        list(told("fail", lambda progress, cancelled: 1 / 0, lambda: False))
