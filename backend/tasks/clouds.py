"""The point clouds of a task: every pixel of a picture, or the tracked points of a video, each with its depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec
import numpy as np

from ...shared import points
from ...shared.errors import UsageError
from ...shared.request import GenerationRequest
from ..engines import Progress
from ..engines.projection_background import black_margin
from .paths import checked, identities
from .point_cloud import PointCloud, colours, known, moved, pixel_centres, sample, square_for, unproject
from .progress import told
from .source import Source

PICTURE_SQUARE = (3, 3)
TRACKER_SQUARE = {"cotracker": (5, 5)}  # of 70x70 points; the other trackers' is 7x5
FEWEST_TO_SCALE = 8


class Tracks(msgspec.Struct, kw_only=True):
    """xy f64 [T,N,2] in pixels, visible bool [T,N], z f32 [T,N] camera z (inf where unknown), None where there is no depth."""

    xy: np.ndarray
    visible: np.ndarray
    z: np.ndarray | None

    @property
    def shown(self) -> np.ndarray:
        """bool [T,N]: seen, and with a depth where there is any."""
        return self.visible if self.z is None else self.visible & known(self.z)


def picture_cloud(source: Source) -> PointCloud:
    """Every pixel of the first frame whose depth is known."""
    depth = source.depth[0].ravel()
    chosen = np.flatnonzero(known(depth))
    positions = unproject(pixel_centres(source.size)[chosen], depth[chosen], source.K[0])
    return PointCloud(
        positions=positions,
        colours=colours(positions, np.ones(len(chosen), bool), source.K[0], source.size),
        square=PICTURE_SQUARE,
    )


def find_tracks(
    request: GenerationRequest, inputs: dict[str, np.ndarray], source: Source, cancelled: Callable[[], bool]
) -> Iterator[Progress]:
    """Yields Progress, returns the Tracks: given, or found on a grid over the first frame. Each has a first place.

    UsageError where none is given and the tracker is a file, or none is seen in the first frame.
    """
    if "tracks" in inputs:
        xy = np.asarray(inputs["tracks"], np.float64)
        visible = np.array(inputs.get("track_visible", np.ones(xy.shape[:2], bool)))
        source.used += [name for name in ("tracks", "track_visible", "track_depth") if name in inputs]
    elif request.transfer.tracker == "file":
        raise UsageError("No tracks came from a file.", "Give an .npz of tracks [T,N,2], or choose another tracker, for example dis.")
    else:
        found = yield from _track(request, source, cancelled)
        xy, visible = np.asarray(found.xy, np.float64), np.array(found.visible)
    visible &= np.isfinite(xy).all(axis=-1)
    return _with_first_place(Tracks(xy=xy, visible=visible, z=_depths(inputs, source, xy)), "track_depth" in inputs, source)


def _track(request: GenerationRequest, source: Source, cancelled: Callable[[], bool]) -> Iterator[Progress]:
    if not source.is_video:
        raise UsageError("A picture does not move, and there are no tracks.", "Give a video, or a file of tracks.")
    if not points.is_grid(request.transfer.grid):
        raise UsageError(f"'{request.transfer.grid}' is no grid of points.", "Give columns x rows, for example 70x70.")
    grid = points.query_points(msgspec.structs.replace(request, points=request.transfer.grid))[:, :0:-1].astype(np.float32)
    if request.fit == "pad":
        column, row = grid.astype(np.intp).T
        grid = grid[~black_margin(source.frames[0], source.frames)[row, column]]
    from ..vision import catalogue, tracks

    method = request.transfer.tracker
    found = yield from told(
        "tracks", lambda progress, stop: tracks.track(source.frames, grid, method=method, cancelled=stop, progress=progress), cancelled
    )
    lost = 1 - found.visible[-1].mean()
    source.notes.append(f"{len(grid)} points were tracked by {method}; {100 * lost:.0f} % are hidden or lost at the end.")
    if method == "cotracker":
        model = catalogue.named(method)
        source.notes.append(f"CoTracker's licence is {model.licence}: {model.terms}.")
    return found


def _depths(inputs: dict[str, np.ndarray], source: Source, xy: np.ndarray) -> np.ndarray | None:
    """z f32 [T,N]: given, or the source's at each track; a picture's at its first place."""
    if "track_depth" in inputs:
        return np.where(known(inputs["track_depth"]), inputs["track_depth"], np.float32(np.inf))
    if source.depth is None:
        return None
    if len(source.depth) == 1:
        return np.repeat(sample(source.depth[0], xy[0])[None], len(xy), axis=0)
    return np.stack([sample(depth, place) for depth, place in zip(source.depth, xy)])


def _with_first_place(tracks: Tracks, has_own_depth: bool, source: Source) -> Tracks:
    """Only tracks that have a place in the first frame, and so a colour: seen there, or given with their depth."""
    width, height = source.size
    with np.errstate(invalid="ignore"):
        inside = ((tracks.xy[0] >= 0) & (tracks.xy[0] < (width, height))).all(axis=-1)
    placed = inside & (known(tracks.z[0]) if has_own_depth else tracks.shown[0])
    if not (placed & tracks.shown[0]).any():
        raise UsageError("No track is seen in the first frame with a known depth.", "Choose another range of the video, or other tracks.")
    if count := len(placed) - int(placed.sum()):
        source.notes.append(f"{count} of {len(placed)} tracks have no place or depth in the first frame, so no colour, and are left out.")
    return Tracks(xy=tracks.xy[:, placed], visible=tracks.visible[:, placed], z=None if tracks.z is None else tracks.z[:, placed])


def tracks_square(request: GenerationRequest, tracks: Tracks) -> tuple[int, int]:
    """The pixels (across, down) of a track's point, by tracker and number."""
    base = TRACKER_SQUARE.get(request.transfer.tracker, (7, 5))
    return square_for(tracks.xy.shape[1], (request.width, request.height), base)


def own_camera(inputs: dict[str, np.ndarray], source: Source, tracks: Tracks, frames: int) -> np.ndarray:
    """A video's world_to_camera f64 [T,4,4], the first the identity: given, or estimated from its tracks."""
    if "source_world_to_camera" in inputs:
        source.used.append("source_world_to_camera")
        poses = checked(inputs["source_world_to_camera"], frames, "video's own camera path")
        return poses @ np.linalg.inv(poses[0])
    if not source.is_video:
        return identities(frames)
    from ..vision import poses

    found = poses.estimate_poses(tracks.xy, tracks.shown, tracks.z, source.K)
    source.notes += [f"The video's own camera was estimated from {tracks.xy.shape[1]} tracks.", *found.notes]
    return found.world_to_camera


def tracks_cloud(source: Source, tracks: Tracks, cameras: np.ndarray, square: tuple[int, int]) -> PointCloud:
    """The tracked points lifted into space frame by frame, by the video's own ``cameras`` world_to_camera [T,4,4].

    Where depth was estimated for each frame alone, each frame's is scaled to agree with the first's.
    """
    K = np.broadcast_to(source.K, (len(cameras), 3, 3))
    shown = tracks.shown
    own = [unproject(xy, np.where(seen, z, 1), matrix) for xy, z, seen, matrix in zip(np.nan_to_num(tracks.xy), tracks.z, shown, K)]
    first = unproject(tracks.xy[0], np.where(known(tracks.z[0]), tracks.z[0], 1), K[0])
    if source.estimated and source.is_video:
        own = [positions * _agreeing(first, positions, E, seen & shown[0]) for positions, E, seen in zip(own, cameras, shown)]
    positions = np.stack([moved(there, np.linalg.inv(E)) for there, E in zip(own, cameras)])
    return PointCloud(positions=positions, shown=shown, colours=colours(first, shown[0], K[0], source.size), square=square)


def _agreeing(first: np.ndarray, positions: np.ndarray, world_to_camera: np.ndarray, both: np.ndarray) -> float:
    """The factor that brings a frame's depth to the first frame's, by the middle of the points seen in ``both``."""
    expected = moved(first[:, both], world_to_camera)[2]
    ratios = expected[expected > 0] / positions[2, both][expected > 0]
    return float(np.median(ratios)) if len(ratios) >= FEWEST_TO_SCALE else 1.0
