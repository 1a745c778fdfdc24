"""Motion transfer: the motion of a video, by tracks of points on it, and the look of another picture. docs/motion-transfer.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ...shared.request import GenerationRequest
from . import Event
from .clouds import Tracks, find_tracks, tracks_square
from .point_cloud import colours, flat_colours, unproject
from .source import Source, read_source
from .take import draw_video, hand_over


def prepare(
    request: GenerationRequest, inputs: dict[str, np.ndarray], *, cancelled: Callable[[], bool]
) -> Iterator[Event]:
    """tasks.prepare of this task. UsageError where there is neither a video nor tracks."""
    has_depth = "track_depth" in inputs and "source_depth" not in inputs
    source = yield from read_source(request, inputs, cancelled, needs_depth=False, wants_depth=not has_depth)
    tracks = yield from find_tracks(request, inputs, source, cancelled)
    paints, shown = track_colours(source, tracks), tracks.shown
    z = np.ones(shown.shape, np.float32) if tracks.z is None else tracks.z

    def seen(frame: int):
        chosen = shown[frame]
        return tracks.xy[frame, chosen], z[frame, chosen], paints[chosen]

    signals = yield from draw_video(request, seen, tracks_square(request, tracks), cancelled)
    signals |= {"tracks": tracks.xy.astype(np.float32), "track_visible": shown}
    if tracks.z is None:
        del signals["depth"]
    else:
        signals["track_depth"] = tracks.z
    yield from hand_over(request, inputs, source, signals, cancelled)


def track_colours(source: Source, tracks: Tracks) -> np.ndarray:
    """u8 [N,3], by the first frame's places and, where there is any, depth."""
    if tracks.z is None:
        return flat_colours(tracks.xy[0], source.size)
    return colours(unproject(tracks.xy[0], tracks.z[0], source.K[0]), tracks.shown[0], source.K[0], source.size)
