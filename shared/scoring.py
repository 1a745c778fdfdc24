"""A finished take is scored: its results and its true tracks go to the backend, which tracks and compares; the take gets
the score (docs/best-of-n.md).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator

import numpy as np

from . import messages
from .client import Client
from .control_score import ControlScore, with_names
from .errors import UsageError
from .generation import events_of, never, raise_bad_end
from .take import Take
from .track_files import Tracks
from .true_tracks import object_names, true_tracks


def score_take(
    take: Take, client: Client, *, patience: float = 0.0, cancelled: Callable[[], bool] = never
) -> Iterator[messages.Message | None]:
    """Each event of the job that scores a take, None where none has arrived; at the end the take's record has the score.

    A take whose true tracks are not known is not scored, which its score says. UsageError where frames are missing. ``patience``
    and what a generator does that is closed too early are as in :func:`generation.generate`; the take's state stays.
    """
    if missing := take.missing_frames():
        raise UsageError(f"{take.folder} lacks {len(missing)} of its frames.", f"Make them first: das generate {take.folder}")
    try:
        truth = true_tracks(take)
    except UsageError as why:
        take.record.score = ControlScore(why_not=why.message)
    else:
        take.record.score = yield from _by_backend(take, truth, client, patience, cancelled)
    take.save()


def _by_backend(take: Take, truth: Tracks, client: Client, patience: float, cancelled: Callable[[], bool]):
    request, job = take.record.request, uuid.uuid4().hex
    frames = np.stack([take.read_picture(take.frame_file(index)) for index in range(request.frames)])
    arrays = {"frames": frames, "tracks": truth.xy, "track_visible": truth.visible, "objects": truth.objects}
    try:
        client.submit(job, request, arrays, f"{take.folder.name} score", work="score")
        for event in events_of(job, client, patience, cancelled):
            if isinstance(event, messages.Done):
                return with_names(event.score, object_names(take))
            if event is not None:
                raise_bad_end(event)
            yield event
    except BaseException:  # also a generator that is closed: the backend must not work on for nobody
        client.cancel(job)
        raise
