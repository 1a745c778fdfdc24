"""A job's frames on their way, while its client comes back on another connection."""

import asyncio

import numpy as np

from diffusion_as_shader.backend.delivery import Deliveries
from diffusion_as_shader.backend.spool import JobFolder
from diffusion_as_shader.shared import messages

JOB, OLD, NEW = "a" * 32, b"old connection", b"new connection"


def spooled(folder, frames: int) -> JobFolder:
    job = JobFolder(folder / JOB)
    for index in range(frames):
        job.write_frame(index, np.full((2, 2, 3), index, np.uint8))
    return job


def test_a_connection_that_is_replaced_gets_no_more_frames_and_meets_none_that_are_gone(tmp_path, caplog):
    folder, sent = spooled(tmp_path, 5), []

    async def send(client: bytes, message: messages.Message) -> bool:
        sent.append((client, message.index))
        if (client, message.index) == (OLD, 1):  # the client comes back, and has got and acknowledged all of it before the next turn of this
            deliveries.open(JOB, NEW)
            await deliveries.get(JOB).add(folder.frame_indices())
            for index in range(5):
                await deliveries.acknowledge(JOB, NEW, index)
        return True

    deliveries = Deliveries(send, lambda job: folder)
    deliveries.open(JOB, OLD)
    asyncio.run(deliveries.get(JOB).add(folder.frame_indices()))
    assert sent == [(OLD, 0), (OLD, 1), *((NEW, index) for index in range(5))]
    assert folder.received_indices() == [0, 1, 2, 3, 4] and not caplog.records


def test_a_client_that_has_vanished_is_sent_nothing(tmp_path):
    folder, sent = spooled(tmp_path, 3), []

    async def send(client: bytes, message: messages.Message) -> bool:
        sent.append(type(message))
        deliveries.forget_client(client)
        return True

    async def play() -> None:
        deliveries.open(JOB, OLD)
        delivery = deliveries.get(JOB)
        await delivery.add(folder.frame_indices())
        await delivery.end(messages.Done(job=JOB))

    deliveries = Deliveries(send, lambda job: folder)
    asyncio.run(play())
    assert sent == [messages.Frame]


def test_a_frame_that_was_acknowledged_elsewhere_just_now_is_no_error_and_one_that_is_lost_is(tmp_path, caplog):
    folder, sent = spooled(tmp_path, 3), []

    async def send(client: bytes, message: messages.Message) -> bool:
        sent.append(message.index)
        return True

    deliveries = Deliveries(send, lambda job: folder)
    deliveries.open(JOB, NEW)
    there = folder.frame_indices()
    folder.receive_frame(0)
    asyncio.run(deliveries.get(JOB).add(there))
    assert sent == [1, 2] and not caplog.records
    (folder.frames / "0002.npy").unlink()
    deliveries.open(JOB, NEW)
    asyncio.run(deliveries.get(JOB).add(there))
    assert sent == [1, 2, 1] and "frame 2 of job" in caplog.text
