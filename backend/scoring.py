"""A worker's job of measuring a result: its frames against the true tracks of its points."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..shared.control_score import ControlScore
from ..shared.track_files import Tracks
from .engines import Progress
from .tasks.progress import told


def score(arrays: dict[str, np.ndarray], *, cancelled: Callable[[], bool]) -> Iterator[Progress | ControlScore]:
    """Progress, and the score at the end. ``arrays`` are those of :mod:`shared.control_score`, read-only."""
    from .vision.control import score_video  # OpenCV takes a while to load, and other jobs do without

    truth = Tracks(xy=np.array(arrays["tracks"]), visible=np.array(arrays["track_visible"]), objects=np.array(arrays["objects"]))
    yield (
        yield from told(
            "score",
            lambda progress, stopped: score_video(arrays["frames"], truth, progress=progress, cancelled=stopped),
            cancelled,
        )
    )
