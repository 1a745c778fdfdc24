"""The queue: legal changes of state only, an order that can be changed, all of it on the disk."""

import sqlite3
from typing import get_args

import pytest

from diffusion_as_shader.backend.queue import LEGAL, TABLE, Queue
from diffusion_as_shader.shared.errors import BackendError
from diffusion_as_shader.shared.messages import Done, Failed, JobState, Progress
from diffusion_as_shader.shared.request import GenerationRequest

JOBS = [f"{number:032x}" for number in range(4)]
WAYS = {
    "queued": [],
    "running": ["running"],
    "done": ["running", "done"],
    "failed": ["running", "failed"],
    "cancelled": ["cancelled"],
}


@pytest.fixture
def queue(tmp_path):
    times = iter(range(1000, 2000))
    opened = Queue(tmp_path / "queue.sqlite", clock=lambda: float(next(times)))
    yield opened
    opened.close()


def add(queue, count=1):
    for job in JOBS[:count]:
        queue.add(job, GenerationRequest(seed=int(job, 16)), f"title {int(job, 16)}", "Blender")


@pytest.mark.parametrize("old", get_args(JobState))
@pytest.mark.parametrize("new", get_args(JobState))
def test_only_legal_changes_of_state(queue, old, new):
    add(queue)
    for state in WAYS[old]:
        queue.set_state(JOBS[0], state)
    if new in LEGAL[old]:
        queue.set_state(JOBS[0], new)
        assert queue.get(JOBS[0]).state == new
    else:
        with pytest.raises(ValueError):
            queue.set_state(JOBS[0], new)
        assert queue.get(JOBS[0]).state == old


def test_unknown_and_repeated_jobs(queue):
    assert queue.get(JOBS[0]) is None
    with pytest.raises(ValueError):
        queue.set_state(JOBS[0], "running")
    add(queue)
    with pytest.raises(ValueError):
        add(queue)


def test_first_come_first_served(queue):
    add(queue, 3)
    order = []
    while record := queue.next():
        order.append(record.id)
        queue.set_state(record.id, "running")
    assert order == JOBS[:3]


def test_clients_take_turns(queue):
    """A's night of shots leaves every second turn to B, and who comes late need not wait for a whole round."""
    for number, owner in enumerate("AAAAABB"):
        queue.add(f"{number:032x}", GenerationRequest(), owner=owner)
    order = [int(job, 16) for job in queue.waiting()]
    assert order == [0, 5, 1, 6, 2, 3, 4]
    assert [queue.place(f"{number:032x}") for number in order] == list(range(7))
    ran = []
    while record := queue.next():
        ran.append(record.owner)
        queue.set_state(record.id, "running")
        if len(ran) == 5:
            queue.add("f" * 32, GenerationRequest(), owner="C")
    assert "".join(ran) == "ABABACAA"


def test_a_job_is_moved_among_its_owners_own(queue):
    for number, owner in enumerate("AAAB"):
        queue.add(f"{number:032x}", GenerationRequest(), owner=owner)
    queue.reorder(f"{2:032x}", 0)
    assert [int(job, 16) for job in queue.waiting()] == [2, 3, 0, 1]
    assert [int(job, 16) for job in queue.waiting("A")] == [2, 0, 1]


def test_a_queue_of_an_older_version_is_taken_over(tmp_path):
    older = sqlite3.connect(tmp_path / "queue.sqlite")
    older.execute(TABLE)
    values = (JOBS[0], "running", 1, b"{}", "t", "c", 1.0, 2.0, 1, None, None)
    older.execute(f"INSERT INTO jobs VALUES ({', '.join('?' * 11)})", values)
    older.commit()
    older.close()
    queue = Queue(tmp_path / "queue.sqlite")
    queue.set_state(JOBS[0], "queued", note="It was broken off.")
    assert queue.get(JOBS[0]).notes == ["It was broken off."] and queue.next().work == "generate"
    queue.close()


def test_a_file_that_is_no_queue_is_said_with_its_fix(tmp_path):
    (tmp_path / "queue.sqlite").write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(BackendError, match="cannot be used") as caught:
        Queue(tmp_path / "queue.sqlite")
    assert "move the file away" in caught.value.fix


def test_what_the_disk_does_not_take_changes_nothing(tmp_path):
    queue = Queue(tmp_path / "queue.sqlite")
    add(queue, 3)
    order = queue.waiting()
    queue._base.execute("PRAGMA query_only = ON")  # as on a disk that is full or read-only
    for change in (
        lambda: queue.set_state(JOBS[0], "running"),
        lambda: queue.reorder(JOBS[2], 0),
        lambda: queue.add(JOBS[3], GenerationRequest()),
    ):
        with pytest.raises(BackendError, match="cannot write its queue"):
            change()
    queue._base.execute("PRAGMA query_only = OFF")
    assert queue.waiting() == order and queue.get(JOBS[0]).state == "queued"
    queue.set_state(JOBS[0], "running")
    assert queue.get(JOBS[0]).attempts == 1
    queue.close()


@pytest.mark.parametrize("place, expected", [(0, [2, 0, 1]), (1, [0, 2, 1]), (9, [0, 1, 2]), (-5, [2, 0, 1])])
def test_reorder(queue, place, expected):
    add(queue, 3)
    queue.reorder(JOBS[2], place)
    assert [record.id for record in queue.in_state("queued")] == [JOBS[index] for index in expected]
    assert queue.place(JOBS[2]) == expected.index(2)


def test_only_waiting_jobs_are_reordered(queue):
    add(queue, 2)
    queue.set_state(JOBS[0], "running")
    assert queue.place(JOBS[0]) == -1
    with pytest.raises(ValueError):
        queue.reorder(JOBS[0], 0)


def test_all_is_there_after_opening_again(tmp_path):
    queue = Queue(tmp_path / "queue.sqlite")
    add(queue, 3)
    failure = Failed(job=JOBS[0], kind="engine", message="No.", fix="Yes.")
    result = Done(job=JOBS[1], used=["rest"], timings={"load": 1.0})
    for job in JOBS[:2]:
        queue.set_state(job, "running")
    queue.set_state(JOBS[0], "failed", failure=failure)
    queue.set_state(JOBS[1], "done", result=result)
    queue.reorder(JOBS[2], 0)
    queue._base.close()  # no farewell, as after a kill
    again = Queue(tmp_path / "queue.sqlite")
    assert again.get(JOBS[0]).failure == failure and again.get(JOBS[0]).attempts == 1
    assert again.get(JOBS[1]).result == result
    assert again.next().id == JOBS[2] and again.next().request == GenerationRequest(seed=2)
    again.close()


def test_trying_again_forgets_the_failure(queue):
    add(queue)
    queue.set_state(JOBS[0], "running")
    queue.set_state(JOBS[0], "failed", failure=Failed(job=JOBS[0], kind="engine", message="No."))
    queue.set_state(JOBS[0], "queued")
    assert queue.get(JOBS[0]).failure is None


def test_listing_has_running_then_waiting_then_ended(queue):
    add(queue, 4)
    queue.set_state(JOBS[0], "cancelled")
    queue.set_state(JOBS[1], "cancelled")
    queue.set_state(JOBS[3], "running")
    progress = {JOBS[3]: Progress(job=JOBS[3], phase="warp", step=1, total=2)}
    infos = queue.infos(progress)
    assert [entry.job for entry in infos] == [JOBS[3], JOBS[2], JOBS[1], JOBS[0]]
    assert [entry.position for entry in infos] == [-1, 0, -1, -1]
    assert infos[0].progress == progress[JOBS[3]] and infos[1].title == "title 2"


def test_only_ended_jobs_are_forgotten(queue):
    add(queue, 2)
    queue.set_state(JOBS[0], "cancelled")
    for job in JOBS[:2]:
        queue.forget(job)
    assert queue.get(JOBS[0]) is None and queue.get(JOBS[1])
