"""A clip of a real video: brought to its size, its points tracked and coloured as motion transfer does, written lossless. No torch."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from ...shared.dataset import ClipRecord, Source
from ...shared.errors import Cancelled, UsageError
from ...shared.files import sha256_of
from ...shared.request import GenerationRequest
from ...shared.timeline import video_fps
from ...shared.track_files import Tracks, encode_tracks
from .. import tasks
from ..engines import Progress, Report
from ..images import ImageioImages
from ..task_inputs import gather
from ..tasks import Signal
from .video_list import Entry

PREFIX = "v"  # clips of Blender are named by number alone: both can be in one dataset


class Asked(NamedTuple):
    """How every clip is made: size, count, tracker and depth in ``request``; the ``frames`` of each video (all for None), as it
    was said; the ``lens`` in mm of a full frame, where it is known."""

    request: GenerationRequest
    frames: tuple[float, float] | None = None
    lens: float | None = None

    @property
    def range(self) -> str:
        return "all" if self.frames is None else "{:g}:{:g}".format(*self.frames)


class Drawn(NamedTuple):
    """A clip in memory: ``signals`` as of :mod:`shared.task_signals`, ``notes`` what is to be said of it."""

    request: GenerationRequest
    video: np.ndarray
    signals: dict[str, np.ndarray]
    notes: list[str]


def draw(entry: Entry, asked: Asked, progress: Callable[[str, int, int], None], cancelled: Callable[[], bool]) -> Drawn:
    """UsageError where the video cannot be read, is too short, or nothing in it is followed. Cancelled."""
    request = msgspec.structs.replace(asked.request, source=str(entry.video), prompt=entry.prompt)
    if entry.tracks:
        request = msgspec.structs.replace(request, transfer=msgspec.structs.replace(request.transfer, tracks=str(entry.tracks)))
    given = gather(request, frames=asked.frames, lens=asked.lens, progress=lambda done, total: progress("read", done, total))
    if (length := round(given.request.end - given.request.start) + 1) < request.frames:
        raise UsageError(f"{entry.video} has {length} frames there, and a clip has {request.frames}.", "Give a longer video, or make shorter clips with --count.")
    signals: dict[str, np.ndarray] = {}
    notes = list(given.notes)
    for event in tasks.prepare(given.request, given.inputs, cancelled=cancelled):
        if isinstance(event, Progress):
            progress(event.phase, event.step, event.total)
        elif isinstance(event, Signal):
            signals[event.name] = event.array
        elif isinstance(event, Report):
            notes += event.notes
    if cancelled():
        raise Cancelled("The clip was cancelled.")
    return Drawn(given.request, given.inputs["source"], signals, notes)


def write(drawn: Drawn, entry: Entry, asked: Asked, name: str, root: Path) -> ClipRecord:
    """Its files, below ``root``. OSError where they cannot be written."""
    request, signals = drawn.request, drawn.signals
    fps = video_fps(request.start, request.end, request.frames, request.scene_fps)
    files = {"video": f"videos/{name}.mp4", "tracking": f"tracking/{name}_tracking.mkv", "image": f"images/{name}.png", "tracks": f"tracks/{name}.npz"}
    for path in files.values():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
    ImageioImages().write_h264(root / files["video"], drawn.video, fps)
    ImageioImages().write_lossless(root / files["tracking"], signals["tracking"], fps)
    ImageioImages().write(root / files["image"], drawn.video[0])
    tracks = Tracks(
        xy=signals["tracks"], visible=signals["track_visible"], depth=signals.get("track_depth"), size=(request.width, request.height), fps=fps
    )
    (root / files["tracks"]).write_bytes(encode_tracks(tracks))
    return ClipRecord(
        name=name,
        prompt=entry.prompt,
        **files,
        frames=request.frames,
        width=request.width,
        height=request.height,
        fps=fps,
        sources=[source_of(entry)],
        hashes={part: sha256_of(root / files[part]) for part in ("video", "tracking")},
        settings=_settings(drawn, asked),
    )


def source_of(entry: Entry) -> Source:
    return Source(path=str(entry.video.resolve()), licence=entry.licence, source=entry.source, sha256=_sha256(entry.video))


def _settings(drawn: Drawn, asked: Asked) -> dict[str, str | float]:
    """How it was drawn; ``kept``: the share of points that are still seen at the end."""
    transfer, visible = drawn.request.transfer, drawn.signals["track_visible"]
    return {
        "range": asked.range,
        "start": drawn.request.start,
        "end": drawn.request.end,
        "tracker": transfer.tracker,
        "points": visible.shape[1],
        "kept": round(float(visible[-1].mean()), 4),
        "depth": "known" if "track_depth" in drawn.signals else "none",
    }


_sha256 = cache(sha256_of)  # asked for before a clip is made, and after


def key(record: ClipRecord) -> tuple:
    """By what a clip is known as one that is there already."""
    return (record.sources[0].sha256 if record.sources else "", record.settings.get("range"), record.width, record.height, record.frames)


def wanted_key(entry: Entry, asked: Asked) -> tuple:
    """The same of a clip that is not made yet."""
    return (_sha256(entry.video), asked.range, asked.request.width, asked.request.height, asked.request.frames)


def next_name(records: list[ClipRecord]) -> str:
    """'v00001' and on."""
    numbers = [int(record.name[1:]) for record in records if record.name[:1] == PREFIX and record.name[1:].isdigit()]
    return f"{PREFIX}{max(numbers, default=0) + 1:05d}"
