"""The inputs of a task become a prepared take: handed to the backend, its signals received one by one, written."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from . import messages
from .camera import Camera, CameraPath, Intrinsics, camera_path
from .client import Client
from .errors import Cancelled, GenerationError
from .generation import events_of, never, note_report, raise_bad_end, told_in
from .request import GenerationRequest
from .take import SIGNAL_NAMES, ContentHash, Take
from .task_signals import check_inputs
from .timeline import sample_frames, video_fps
from .track_files import Tracks, encode_tracks


def prepare(
    take: Take,
    client: Client,
    inputs: Mapping[str, np.ndarray],
    *,
    request: GenerationRequest | None = None,
    patience: float = 0.0,
    cancelled: Callable[[], bool] = never,
    title: str = "",
) -> Iterator[messages.Message | None]:
    """Each event of the job that prepares the take once the take has taken it in, None where none has arrived.

    ``inputs`` are those of the task (:mod:`task_signals`) of ``request``, which is the take's own if None. ``patience``, what is raised and what a generator does
    that is closed too early are as in :func:`generation.generate`. A take that has none of it yet is removed where the
    inputs cannot be used.
    """
    job = uuid.uuid4().hex
    with told_in(take):
        request = request or take.record.request
        check_inputs(request, inputs)
        try:
            client.submit(job, request, dict(inputs), title or take.folder.name, work="prepare")
            yield from _receive(take, job, client, patience, cancelled)
        except BaseException:  # also a generator that is closed: the backend must not work on for nobody
            client.cancel(job)
            raise
        take.save()


def _receive(take: Take, job: str, client: Client, patience: float, cancelled: Callable[[], bool]):
    signals: dict[str, np.ndarray] = {}
    for event in events_of(job, client, patience, cancelled):
        match event:
            case messages.Signal():
                signals[event.name] = event.array
                client.received(job, event.index)
            case messages.Done():
                note_report(take, event)
                if missing := set(event.signals) - signals.keys():
                    raise GenerationError(f"The backend sent no {', '.join(sorted(missing))}.", "Run it again.")
                for progress in _write(take, signals):
                    if cancelled():
                        raise Cancelled("The preparation was cancelled.")
                    yield progress
                return
            case messages.Message():
                raise_bad_end(event)
        yield event


def _write(take: Take, signals: Mapping[str, np.ndarray]) -> Iterator[messages.Progress]:
    """All that arrived, a picture a step; the first frame last, so that a take that has one has all."""
    if "tracking" in signals:
        yield from _write_tracking(take, signals["tracking"])
    if any(name in signals for name in SIGNAL_NAMES):
        for done, total in take.writing_signals(signals):
            yield _progress(take, "signals", done, total)
    if "K" in signals and "world_to_camera" in signals:
        take.write_camera_path(_path(take, signals))
    if "tracks" in signals:
        take.write_file("tracks.npz", encode_tracks(_tracks(signals)))
    for number, picture in enumerate(signals.get("candidates", ()), 1):
        take.write_candidate(number, picture)
    if "first_frame" in signals:
        take.write_first_frame(signals["first_frame"])


def _write_tracking(take: Take, frames: np.ndarray) -> Iterator[messages.Progress]:
    hashing = ContentHash(frames.dtype, frames.shape)
    for index, frame in enumerate(frames):
        take.write_tracking_frame(index, frame)
        hashing.add(frame)
        yield _progress(take, "tracking", index + 1, len(frames))
    take.record.hashes["tracking"] = hashing.text


def _progress(take: Take, phase: str, step: int, total: int) -> messages.Progress:
    return messages.Progress(job=take.record.job, phase=phase, step=step, total=total, eta=None)


def _path(take: Take, signals: Mapping[str, np.ndarray]) -> CameraPath:
    request = take.record.request
    cameras = [
        Camera(Intrinsics(request.width, request.height, K[0, 0], K[1, 1], K[0, 2], K[1, 2]), E)
        for K, E in zip(signals["K"], signals["world_to_camera"])
    ]
    fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
    return camera_path(cameras, sample_frames(request.start, request.end, request.frames), fps)


def _tracks(signals: Mapping[str, np.ndarray]) -> Tracks:
    return Tracks(xy=signals["tracks"], visible=signals["track_visible"], depth=signals.get("track_depth"))
