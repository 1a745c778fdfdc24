"""The numbers of a pre-flight: what was measured of a shot, frame by frame, and the table that people read."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from .alignment import Alignment
from .request import GenerationRequest
from .timeline import video_fps


class FrameMeasure(msgspec.Struct, kw_only=True, frozen=True):
    """One sampled frame. Shares are of all its pixels; motion is since the sample before, in pixels of the window."""

    frame: float
    camera: str = ""
    surface: float = 0.0  # anything drawn
    tracked: float = 0.0  # has a tracking colour
    hidden: float = 0.0  # behind something in the first frame
    off_screen: float = 0.0  # outside of the first frame's view, which is black in the tracking video
    lost: float = 0.0  # surface that cannot be followed
    near: float = 0.0  # the clipping distances
    far: float = 0.0
    cut_near: float = 0.0  # what they cut away
    cut_far: float = 0.0
    motion: float = 0.0  # 99th percentile
    fastest: float = 0.0
    fastest_at: tuple[int, int] | None = None
    fastest_object: str = ""
    view_motion: float = 0.0  # of the camera alone, at the middle of the scene's depth

    @property
    def unseen(self) -> float:
        """The share of surface that the first frame does not show."""
        return self.hidden + self.off_screen


class Untracked(msgspec.Struct, frozen=True):
    """Something that is rendered and not followed."""

    name: str
    reason: str


class Measurements(msgspec.Struct, kw_only=True):
    """The numbers of a shot. ``scene_start`` and ``scene_end`` are the file's own frame range; ``depth_low`` and
    ``depth_high`` the 2nd and 98th percentile of depth at the start; ``nearest`` and ``farthest`` the depth of what
    the clipping distances cut away, in scene units."""

    request: GenerationRequest
    frames: list[FrameMeasure]
    scene_start: int
    scene_end: int
    depth_low: float = 0.0
    depth_high: float = 0.0
    nearest: float = 0.0  # 0: nothing is cut
    farthest: float = 0.0
    alignment: Alignment | None = None
    untracked: list[Untracked] = []

    @property
    def first(self) -> FrameMeasure:
        return self.frames[0]


def percent(share: float) -> str:
    """A share for people: '31 %', and a decimal below 10."""
    return f"{100 * share:.0f} %" if share >= 0.0995 or share == 0 else f"{100 * share:.1f} %"


def scene_frame(frame: float) -> str:
    """'frame 12', with a decimal between whole frames."""
    return f"frame {round(frame, 1):g}"


def table(measured: Measurements) -> list[tuple[str, str]]:
    """The numbers for people: what each is, and its value."""
    frames, request = measured.frames, measured.request
    later = frames[1:] or frames
    least = min(later, key=lambda frame: frame.tracked)
    black = max(later, key=lambda frame: 1 - frame.tracked)
    rows = [
        ("tracked at the start", percent(measured.first.tracked)),
        ("tracked later, at least", f"{percent(least.tracked)} at {scene_frame(least.frame)}"),
        _most("never seen at the start, at most", later, lambda frame: frame.unseen),
        _most("  of it hidden, at most", later, lambda frame: frame.hidden),
        _most("  of it off screen, at most", later, lambda frame: frame.off_screen),
        _most("surface that cannot be followed, at most", frames, lambda frame: frame.lost),
        ("black (no tracking colour), at most", f"{percent(1 - black.tracked)} at {scene_frame(black.frame)}"),
        ("largest motion from result to result", _motion(later)),
        ("depth at the start", f"{measured.depth_low:.3g} to {measured.depth_high:.3g} (2nd to 98th percentile)"),
        ("clipping distances", f"{measured.first.near:g} to {measured.first.far:g}"),
        ("range", _range(request)),
        ("first frame", _alignment(measured)),
    ]
    return rows


def _most(name: str, frames: list[FrameMeasure], number: Callable[[FrameMeasure], float]) -> tuple[str, str]:
    worst = max(frames, key=number)
    value = number(worst)
    return name, f"{percent(value)} at {scene_frame(worst.frame)}" if value else "0 %"


def _motion(frames: list[FrameMeasure]) -> str:
    fastest = max(frames, key=lambda frame: frame.fastest)
    typical = max(frame.motion for frame in frames)
    if not fastest.fastest:
        return "0 pixels"
    where = f" ({fastest.fastest_object})" if fastest.fastest_object else ""
    return f"{fastest.fastest:.1f} pixels at {scene_frame(fastest.frame)}{where}; 99 % of the picture at most {typical:.1f}"


def _range(request: GenerationRequest) -> str:
    rate = video_fps(request.start, request.end, request.frames, request.scene_fps)
    step = (request.end - request.start) / (request.frames - 1)
    return f"{request.start:g}:{request.end:g} as {request.frames} results, one every {step:.3g} frames, {rate:.3g} a second"


def _alignment(measured: Measurements) -> str:
    alignment = measured.alignment
    if alignment is None:
        return "not checked: it is rendered from this very scene (--with-first-frame checks it)"
    if alignment.why_not:
        return f"cannot be checked: {alignment.why_not}"
    return f"best fit {alignment.offset:.1f} pixels away, match {alignment.match:.2f}"
