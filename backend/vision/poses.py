"""The camera of a video, from tracks of points whose depth is known: Perspective-n-Point, frame by frame.

The points are placed in the camera of the first frame; each later frame's pose is the one that sees them where the tracks
are. RANSAC (OpenCV's) finds it among points that move by themselves, and the pose before it is tried too: of a plane seen
from afar two poses explain the picture about equally well, and the camera does not jump between them.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from ...shared.errors import UsageError

FEWEST = 8  # points in a frame
PIXELS = 2.0  # a point that is farther from where it should be does not count
ROUNDS = 4  # of refinement, each on the points that agree with the last
CLEARLY_BETTER = 0.9  # of the cost: only then the pose before it is given up
THIN = 1e-3  # relative width: points on a line
FEW_AGREE = 0.5


class Poses(NamedTuple):
    """world_to_camera f64 [T,4,4], the first the identity; ``agreeing`` f64 [T], the share of points that fit; notes."""

    world_to_camera: np.ndarray
    agreeing: np.ndarray
    notes: list[str]


def camera_from_tracks(xy: np.ndarray, visible: np.ndarray, z: np.ndarray, K: np.ndarray) -> np.ndarray:
    """The world_to_camera of :func:`estimate_poses`."""
    return estimate_poses(xy, visible, z, K).world_to_camera


def estimate_poses(xy: np.ndarray, visible: np.ndarray, z: np.ndarray, K: np.ndarray) -> Poses:
    """Where the camera of a video is, in the frame of its first camera and the unit of z.

    xy f [T,N,2] in pixels, visible bool [T,N], z f [N] or [T,N] camera z (of the first frame is used), K f [3,3] or [T,3,3].
    A frame with too few points lies between its neighbours, and a note says so. UsageError where the first frame, or half of
    the frames, have too few, or where all points lie on a line.
    """
    K = np.broadcast_to(np.asarray(K, np.float64), (len(xy), 3, 3))
    first = np.asarray(z if np.ndim(z) == 1 else z[0], np.float64)
    known = visible[0] & np.isfinite(first) & (first > 0) & np.isfinite(xy[0]).all(axis=-1)
    points = _unproject(np.asarray(xy[0], np.float64)[known], first[known], K[0])
    _check(points)
    seen = visible[:, known] & np.isfinite(xy[:, known]).all(axis=-1)
    if (seen.sum(axis=1) < FEWEST).mean() > 0.5:
        raise UsageError("Points of the first frame are seen in fewer than half of the frames.", "Choose a shorter range of the video, or another tracker.")
    pixels = np.asarray(xy, np.float64)[:, known]
    poses, agreeing = _follow(points, pixels, seen, K)
    return Poses(_fill(poses), agreeing, _notes(poses, agreeing))


def _unproject(pixels: np.ndarray, z: np.ndarray, K: np.ndarray) -> np.ndarray:
    rays = np.linalg.solve(K, np.column_stack([pixels, np.ones(len(pixels))]).T).T
    return rays * z[:, None]


def _check(points: np.ndarray) -> None:
    if len(points) < FEWEST:
        raise UsageError(
            f"{len(points)} points of the first frame have a depth, and a camera needs {FEWEST}.", "Use more points, or depth with fewer holes."
        )
    rays = points[:, :2] / points[:, 2:]
    wide, narrow = np.linalg.svd(rays - rays.mean(axis=0), compute_uv=False)
    if narrow <= THIN * wide:
        raise UsageError("All points lie on one line of the picture, from which no camera can be found.", "Spread the points over the picture.")


def _follow(points: np.ndarray, pixels: np.ndarray, seen: np.ndarray, K: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Poses [T,4,4], NaN where a frame has too few points, and the share of points that agree."""
    poses = np.full((len(pixels), 4, 4), np.nan)
    poses[0], agreeing = np.eye(4), np.ones(len(pixels))
    last = poses[0]
    for index in range(1, len(pixels)):
        chosen = seen[index]
        if chosen.sum() < FEWEST:
            agreeing[index] = 0
            continue
        pose = _solve(points[chosen], pixels[index, chosen], K[index], last)
        agreeing[index] = (_errors(pose, points[chosen], pixels[index, chosen], K[index]) < PIXELS).mean()
        if agreeing[index] * chosen.sum() >= FEWEST:
            poses[index] = last = pose
    return poses, agreeing


def _solve(points: np.ndarray, pixels: np.ndarray, K: np.ndarray, last: np.ndarray) -> np.ndarray:
    """The better of two: the refined last pose, and RANSAC's refined."""
    kept = _refine(last, points, pixels, K)
    found, rotation, translation, _ = cv2.solvePnPRansac(
        points, pixels, K, None, iterationsCount=200, reprojectionError=PIXELS, confidence=0.999, flags=cv2.SOLVEPNP_SQPNP
    )
    if not found:
        return kept
    fresh = _refine(_matrix(rotation, translation), points, pixels, K)
    better = _cost(fresh, points, pixels, K) < CLEARLY_BETTER * _cost(kept, points, pixels, K)
    return fresh if better else kept


def _refine(pose: np.ndarray, points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Levenberg-Marquardt on the points that agree; the margin, wide at first, narrows to PIXELS."""
    for round in range(ROUNDS):
        errors = _errors(pose, points, pixels, K)
        margin = max(PIXELS, np.median(errors) * 3 / 2**round)
        agreeing = errors < margin
        if agreeing.sum() < FEWEST:
            return pose
        rotation = cv2.Rodrigues(pose[:3, :3])[0]
        pose = _matrix(*cv2.solvePnPRefineLM(points[agreeing], pixels[agreeing], K, None, rotation, pose[:3, 3:].copy()))
    return pose


def _matrix(rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(rotation)[0], translation.ravel()
    return pose


def _errors(pose: np.ndarray, points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> np.ndarray:
    """Pixels between tracks and projections; inf for what lies behind the camera."""
    x, y, depth = K @ (points @ pose[:3, :3].T + pose[:3, 3]).T
    front = depth > 0
    depth = np.where(front, depth, 1.0)
    return np.where(front, np.hypot(x / depth - pixels[:, 0], y / depth - pixels[:, 1]), np.inf)


def _cost(pose: np.ndarray, points: np.ndarray, pixels: np.ndarray, K: np.ndarray) -> float:
    return float((np.minimum(_errors(pose, points, pixels, K), PIXELS) ** 2).sum())


def _fill(poses: np.ndarray) -> np.ndarray:
    """Missing poses between their neighbours: rotation about one axis, the camera's place on a straight line; held at the end."""
    filled, known = poses.copy(), np.flatnonzero(np.isfinite(poses[:, 0, 0]))
    for index in np.flatnonzero(~np.isfinite(poses[:, 0, 0])):
        before, after = known[known < index][-1], known[known > index][:1]
        filled[index] = _between(poses[before], poses[after[0]], (index - before) / (after[0] - before)) if len(after) else poses[before]
    return filled


def _between(start: np.ndarray, end: np.ndarray, share: float) -> np.ndarray:
    turn = cv2.Rodrigues(end[:3, :3] @ start[:3, :3].T)[0]
    centres = [-pose[:3, :3].T @ pose[:3, 3] for pose in (start, end)]
    pose = np.eye(4)
    pose[:3, :3] = cv2.Rodrigues(share * turn)[0] @ start[:3, :3]
    pose[:3, 3] = -pose[:3, :3] @ ((1 - share) * centres[0] + share * centres[1])
    return pose


def _notes(poses: np.ndarray, agreeing: np.ndarray) -> list[str]:
    notes = []
    if missing := int(np.isnan(poses[:, 0, 0]).sum()):
        notes.append(f"In {missing} of {len(poses)} frames too few points are seen to place the camera, which is taken between its neighbours.")
    found = agreeing[~np.isnan(poses[:, 0, 0])]
    if np.median(found) < FEW_AGREE:
        notes.append(f"Only {100 * np.median(found):.0f} % of the points move as the camera's motion says: its path is uncertain.")
    return notes
