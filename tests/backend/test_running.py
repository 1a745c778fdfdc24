"""The life of workers and their jobs, by an injected clock: replaced once, ended where they hang, nothing told before it is written."""

import asyncio

import numpy as np
import pytest

from diffusion_as_shader.backend.delivery import Deliveries
from diffusion_as_shader.backend.queue import Queue
from diffusion_as_shader.backend.running import Running
from diffusion_as_shader.backend.spool import JobFolder
from diffusion_as_shader.backend.worker_line import Device, WorkerLine
from diffusion_as_shader.backend.workers import LOADING_TAKES, SECONDS_OUT_OF_USE, SECONDS_TO_PROGRESS
from diffusion_as_shader.shared import messages
from diffusion_as_shader.shared.errors import BackendError
from diffusion_as_shader.shared.request import GenerationRequest

JOB, NEXT, CLIENT = "0" * 32, "1" * 32, b"client"
ENGINE = messages.EngineInfo(name=GenerationRequest().engine)


class StandInWorker(WorkerLine):
    """A worker that ends when it is told to; ``immortal`` where not even a kill ends it."""

    pid = 0

    def __init__(self, device, house, immortal):
        super().__init__()
        self.device, self.house, self.immortal = device, house, immortal
        self.over = asyncio.Event()

    async def order(self, message):
        self.house.ordered.append(message)
        self.house.ordered_of.append(self.device.name)

    async def ended(self) -> str:
        await self.over.wait()
        return "on purpose"

    async def stop(self) -> bool:
        if not self.immortal:
            self.over.set()
        return not self.immortal


class House:
    """A Running with stand-ins around it: what was ordered of workers, and told to the client."""

    def __init__(self, folder, immortal=False, devices=(Device(),)):
        self.now, self.workers, self.ordered, self.ordered_of, self.told = 1000.0, [], [], [], []
        self.queue = Queue(folder / "queue.sqlite")
        self.deliveries = Deliveries(self._tell, lambda job: JobFolder(folder / job))
        self.running = Running(
            self.queue, lambda job: JobFolder(folder / job), self.deliveries, self, lambda: self.now
        )
        self._immortal, self._devices = immortal, devices
        self.free = {}

    def devices(self):
        return list(self._devices)

    def start(self, device, hear):
        self.workers.append(StandInWorker(device, self, self._immortal))
        return self.workers[-1]

    async def look(self):
        return self.free

    async def close(self):
        pass

    async def _tell(self, client, message):
        self.told.append(message)
        return True

    async def begin(self, *jobs):
        """A worker that runs the first of these jobs."""
        for job in jobs:
            self.queue.add(job, GenerationRequest())
            self.deliveries.open(job, CLIENT)
        self.running.workers.start()
        await self.ready()

    async def ready(self):
        """Every worker that has just been started says so."""
        for worker in self.workers:
            if not (worker.ready or worker.over.is_set()):
                await self.running.hear(worker.name, messages.Ready(pid=0, engines=[ENGINE]))

    async def say(self, message, worker=-1):
        await self.running.hear(self.workers[worker].name, message)

    async def later(self, seconds):
        """Ticks of half a second, and all that they set off."""
        for _ in range(int(seconds / 0.5)):
            self.now += 0.5
            await self.running.tick()
        await settle()

    @property
    def state(self):
        return self.queue.get(JOB).state


async def settle():
    for _ in range(50):
        await asyncio.sleep(0)


def progress(phase):
    return messages.Progress(job=JOB, phase=phase, step=1, total=9)


@pytest.mark.parametrize("meanwhile, expected", [("another worker was started", 2), ("all was told to stop", 1)])
def test_a_dead_worker_is_replaced_once(tmp_path, monkeypatch, meanwhile, expected):
    async def replace() -> int:
        house = House(tmp_path)
        await house.begin(JOB)

        async def settled(change):
            house.running.workers.start() if expected == 2 else setattr(house.running.workers, "_stopping", True)

        monkeypatch.setattr(house.running, "_settle", settled)
        house.workers[0].over.set()
        await settle()
        return len(house.workers)

    assert asyncio.run(replace()) == expected


def test_a_job_whose_workers_die_is_tried_twice_and_then_fails(tmp_path):
    async def play():
        house = House(tmp_path)
        await house.begin(JOB, NEXT)
        for _ in range(2):
            house.workers[-1].over.set()
            await settle()
            await house.ready()
        return house

    house = asyncio.run(play())
    assert [message.job for message in house.ordered] == [JOB, JOB, NEXT]
    (failed,) = house.told
    assert failed.kind == "worker_died" and "attempt 2, the last" in failed.message and failed.fix
    record = house.queue.get(JOB)
    assert (record.state, record.attempts, record.failure) == ("failed", 2, failed)
    (note,) = record.notes
    assert "ended on purpose in the middle of attempt 1" in note


def test_a_frame_that_a_worker_made_and_did_not_tell_of_is_delivered(tmp_path):
    """Its last words may die with it."""

    async def play():
        house = House(tmp_path)
        await house.begin(JOB)
        house.workers[-1].over.set()
        await settle()
        await house.ready()
        JobFolder(tmp_path / JOB).write_frame(3, np.full((2, 2, 3), 7, np.uint8))
        house.workers[-1].over.set()
        while not (house.told and isinstance(house.told[-1], messages.Failed)):
            await asyncio.sleep(0.01)
        return house

    house = asyncio.run(asyncio.wait_for(play(), 30))
    frame, failed = house.told
    assert frame.index == 3 and (frame.array == 7).all() and failed.kind == "worker_died"


@pytest.mark.parametrize("phase, bound", [(None, LOADING_TAKES), ("load", LOADING_TAKES), ("denoise", 1)])
def test_a_worker_that_hangs_is_ended_and_its_job_tried_again(tmp_path, phase, bound):
    async def play():
        house = House(tmp_path)
        await house.begin(JOB)
        if phase:
            await house.say(progress(phase))
        await house.later(bound * SECONDS_TO_PROGRESS - 1)
        states = [house.state]
        await house.later(2)
        return house, [*states, house.state, len(house.workers)]

    house, seen = asyncio.run(play())
    assert seen == ["running", "queued", 2]
    assert f"made no progress for {bound * SECONDS_TO_PROGRESS:.0f} s" in house.queue.get(JOB).notes[0]


def test_who_says_something_does_not_hang(tmp_path):
    async def play():
        house = House(tmp_path)
        await house.begin(JOB)
        for _ in range(5):
            await house.say(progress("denoise"))
            await house.later(SECONDS_TO_PROGRESS - 1)
        return house

    house = asyncio.run(play())
    assert house.state == "running" and len(house.workers) == 1


def test_a_clock_that_jumps_ends_no_worker(tmp_path):
    async def play():
        house = House(tmp_path)
        await house.begin(JOB)
        house.now += 1e6  # the machine slept
        await house.later(5)
        return house

    assert asyncio.run(play()).state == "running"


def test_a_worker_that_does_not_get_ready_is_ended_too(tmp_path):
    async def play():
        house = House(tmp_path)
        house.running.workers.start()
        await house.later(LOADING_TAKES * SECONDS_TO_PROGRESS + 1)
        return house

    assert asyncio.run(play()).workers[0].ending


def test_a_worker_that_cannot_even_be_killed_is_left_behind(tmp_path):
    async def play():
        house = House(tmp_path, immortal=True)
        await house.begin(JOB)
        await house.running.cancel(JOB)
        await house.later(6)
        return house

    house = asyncio.run(play())
    assert house.told == [messages.Cancelled(job=JOB)] and house.state == "cancelled" and len(house.workers) == 2


def test_after_a_failure_of_the_driver_another_worker_runs_the_next_job(tmp_path):
    async def play():
        house = House(tmp_path)
        await house.begin(JOB, NEXT)
        await house.say(messages.Failed(job=JOB, kind="driver", message="CUDA error."))
        ordered = [message.job for message in house.ordered]
        await settle()
        await house.ready()
        return house, ordered

    house, ordered = asyncio.run(play())
    assert ordered == [JOB] and house.state == "failed" and house.queue.get(JOB).attempts == 1
    assert [message.job for message in house.ordered] == [JOB, NEXT] and len(house.workers) == 2


def test_an_end_that_the_disk_does_not_take_is_told_once_it_is_written(tmp_path, monkeypatch):
    def full(*_args, **_kwargs):
        raise BackendError("The backend cannot write its queue: disk is full.", "Free some space.")

    async def play():
        house = House(tmp_path)
        await house.begin(JOB, NEXT)
        with monkeypatch.context() as patched:
            patched.setattr(house.queue, "set_state", full)
            await house.say(messages.Done(job=JOB))
            await house.later(3)
            assert house.told == [] and house.state == "running" and len(house.ordered) == 1
        await house.later(1)
        return house

    house = asyncio.run(play())
    assert house.told == [messages.Done(job=JOB)] and house.state == "done"
    assert [message.job for message in house.ordered] == [JOB, NEXT]


def test_an_orderly_stop_does_not_count_as_an_attempt(tmp_path):
    async def play():
        house = House(tmp_path)
        await house.begin(JOB)
        await house.running.stop()
        return house

    house = asyncio.run(play())
    assert house.state == "queued" and house.queue.get(JOB).attempts == 0 and house.queue.get(JOB).notes == []


def test_a_backend_that_is_killed_twice_in_a_job_gives_it_up(tmp_path):
    async def play():
        house = House(tmp_path)
        house.queue.add(JOB, GenerationRequest())
        states = []
        for _ in range(2):
            house.queue.set_state(JOB, "running")
            house.running.recover()
            states.append(house.state)
        return house, states

    house, states = asyncio.run(play())
    record = house.queue.get(JOB)
    assert states == ["queued", "failed"] and record.failure.kind == "backend_died" and len(record.notes) == 1


# ---- several workers

SMALL, LARGE = Device("small", "0", 8 << 30), Device("large", "1", 24 << 30)


def test_jobs_go_to_all_devices_the_freest_first_and_back_to_what_is_loaded(tmp_path):
    async def play():
        house = House(tmp_path, devices=(SMALL, LARGE))
        jobs = [f"{number:032x}" for number in range(4)]
        await house.begin()
        for job in jobs[:3]:
            house.queue.add(job, GenerationRequest())
        await house.running.run_next()
        begun = list(house.ordered_of)
        await house.say(messages.Done(job=jobs[1]), worker=0)  # the small one goes on, and is free again
        await house.say(messages.Done(job=jobs[2]), worker=0)
        await house.say(messages.Done(job=jobs[0]), worker=1)
        house.running.workers.slots[1].worker.loaded = ""
        house.queue.add(jobs[3], GenerationRequest())
        await house.running.run_next()
        return house, begun

    house, begun = asyncio.run(play())
    assert begun == ["large", "small"]
    assert [(message.job[-1], device) for message, device in zip(house.ordered, house.ordered_of)][2:] == [("2", "small"), ("3", "small")]


def test_the_freest_card_is_asked_for_anew(tmp_path):
    async def play():
        house = House(tmp_path, devices=(SMALL, LARGE))
        await house.begin()
        house.free = {SMALL: 7 << 30, LARGE: 2 << 30}  # another program has taken the large one's memory
        await house.later(1)
        house.queue.add(JOB, GenerationRequest())
        await house.running.run_next()
        return house.ordered_of

    assert asyncio.run(play()) == ["small"]


def test_one_worker_dies_and_the_others_job_goes_on(tmp_path):
    async def play():
        house = House(tmp_path, devices=(SMALL, LARGE))
        await house.begin(NEXT, JOB)  # the small card's worker is ready first
        house.workers[1].over.set()
        await settle()
        states = [house.queue.get(job).state for job in (JOB, NEXT)]
        await house.ready()
        return house, states

    house, states = asyncio.run(play())
    assert states == ["queued", "running"] and [worker.device.name for worker in house.workers] == ["small", "large", "large"]
    assert house.queue.get(JOB).attempts == 2 and house.queue.get(NEXT).attempts == 1 and house.state == "running"


def test_a_job_that_lacks_memory_waits_for_the_card_that_has_more(tmp_path):
    async def play():
        house = House(tmp_path, devices=(SMALL, LARGE))
        await house.begin(JOB, NEXT)
        lacking = messages.Failed(job=JOB, kind="out_of_memory", message="The memory does not suffice.")
        await house.say(lacking, worker=0)
        waiting = house.state
        await house.say(messages.Done(job=NEXT), worker=1)
        again = house.ordered_of[-1]
        await house.say(lacking, worker=1)
        return house, waiting, again

    house, waiting, again = asyncio.run(play())
    record = house.queue.get(JOB)
    assert (waiting, again) == ("queued", "large") and "On small" in record.notes[0]
    assert (record.state, record.failure.kind, record.attempts) == ("failed", "out_of_memory", 1)


def test_only_workers_that_have_an_engine_get_its_jobs(tmp_path):
    async def play():
        house = House(tmp_path, devices=(SMALL, LARGE))
        house.running.workers.start()
        lacks = messages.EngineInfo(name=ENGINE.name, available=False, reason="No torch.")
        for worker, engine in zip(house.workers, (ENGINE, lacks)):
            await house.running.hear(worker.name, messages.Ready(pid=0, engines=[engine]))
        for job in (JOB, NEXT):
            house.queue.add(job, GenerationRequest())
        await house.running.run_next()
        return house

    house = asyncio.run(play())
    assert house.ordered_of == ["small"] and house.running.workers.engines == [ENGINE]


def test_a_device_whose_workers_do_not_start_costs_no_job(tmp_path):
    async def play():
        house = House(tmp_path, devices=(SMALL, LARGE))
        house.running.workers.start()
        await house.running.hear(house.workers[0].name, messages.Ready(pid=0, engines=[ENGINE]))
        for job in (JOB, NEXT):
            house.queue.add(job, GenerationRequest())
        for _ in range(2):
            house.workers[-1].over.set()
            await settle()
            await house.later(1)
        started = len(house.workers)
        await house.later(SECONDS_OUT_OF_USE - 5)
        rested = len(house.workers)
        await house.later(6)
        return house, [started, rested, len(house.workers)]

    house, started = asyncio.run(play())
    assert started == [3, 3, 4] and {house.state, house.queue.get(NEXT).state} == {"running", "queued"}


def test_memory_is_given_back_once_all_have_done_so(tmp_path):
    async def play():
        house = House(tmp_path, devices=(SMALL, LARGE))
        await house.begin()
        at_once = await house.running.release_memory(CLIENT)
        await house.say(messages.MemoryReleased(), worker=0)
        told = list(house.told)
        await house.say(messages.MemoryReleased(), worker=1)
        return at_once, told, house.told

    assert asyncio.run(play()) == (None, [], [messages.MemoryReleased()])


@pytest.mark.parametrize("weights", ["/own/weights", ""])
def test_an_engine_without_its_usual_weights_gets_the_jobs_that_ask_for_it(tmp_path, weights):
    """With weights of its own a job can be made; without, the engine says what is wrong, and the job does not wait for ever."""

    async def scenario():
        house = House(tmp_path)
        house.queue.add(JOB, GenerationRequest(weights=weights))
        house.running.workers.start()
        without = messages.EngineInfo(name=ENGINE.name, available=False, reason="No weights are here.")
        await house.running.hear(house.workers[0].name, messages.Ready(pid=0, engines=[without]))
        assert [work.job for work in house.ordered] == [JOB]

    asyncio.run(scenario())
