"""Pre-flight: what the numbers of a shot say before an hour of GPU is spent on it.

Measuring is Blender's room; here numbers become findings, by the thresholds of one table.
"""

from __future__ import annotations

import msgspec
import numpy as np

from .alignment import Alignment
from .cuts import find_cuts, longest_shot
from .measurements import FrameMeasure, Measurements, Untracked, percent, scene_frame
from .request import MODEL_FRAMES
from .thresholds import (
    CLIPPED, DEPTH_RANGE, LOST, MATCH, MOTION, MOVES, OFFSET, ORDER, RATE_HIGH, RATE_LOW,
    STILL, STILL_SHARE, TRACKED_AT_START, TRACKED_LATER, UNSEEN, Severity,
)  # fmt: skip
from .timeline import video_fps


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """One thing that an artist should know. ``operator`` mends it where it is not empty, called with ``options``;
    ``value`` is the number judged, ``frame`` the scene frame where it is."""

    severity: Severity
    kind: str
    message: str
    fix: str = ""
    frame: float | None = None
    value: float | None = None
    operator: str = ""
    options: dict[str, float | str] = {}


def judge(measured: Measurements) -> list[Finding]:
    """All findings of the numbers, worst first. What lies after a cut is not judged: it is another shot."""
    cut = find_cuts(measured)
    until = cut[0] if cut else len(measured.frames)
    shot = measured.frames[:until]
    findings = [
        *_judge_cuts(measured, cut),
        *_judge_start(measured),
        *_judge_later(shot),
        *_judge_unseen(measured, shot),
        *_judge_lost(shot),
        *_judge_motion(measured, shot),
        *_judge_range(measured),
        *_judge_clipping(measured),
        *_judge_depth(measured),
        *_judge_alignment(measured.alignment, measured.request.first_frame.source == "file"),
        *_judge_untracked(measured.untracked),
    ]
    return worst_first(findings)


def worst_first(findings: list[Finding]) -> list[Finding]:
    return sorted(findings, key=lambda finding: ORDER.index(finding.severity))


def blocks(findings: list[Finding], strict: bool = False) -> bool:
    """Does any of them block? ``strict`` lets warnings block too."""
    return any(finding.severity == "block" or strict and finding.severity == "warning" for finding in findings)


def _judge_start(measured: Measurements) -> list[Finding]:
    first = measured.first
    if first.tracked == 0:
        return [_nothing_tracked(measured)]
    severity = TRACKED_AT_START.severity(first.tracked)
    if severity is None:
        return []
    return [
        Finding(
            severity=severity, kind="tracked_at_start", frame=first.frame, value=first.tracked,
            message=f"Only {percent(first.tracked)} of the first frame, {scene_frame(first.frame)}, can be tracked.",
            fix="Move the camera closer, or start where more of the scene is in view.",
            **_move_start(measured),
        )
    ]  # fmt: skip


def _nothing_tracked(measured: Measurements) -> Finding:
    """The sentence of the capture's own error where nothing at all is seen."""
    first = measured.first
    if first.surface == 0:
        message = "The camera sees no visible geometry in the first frame."
        fix = "Move the camera or the objects into view, or choose a range that begins where they are."
    else:
        message = "Nothing that the camera sees in the first frame can be tracked."
        fix = "See what is listed as not tracked, or choose a range that begins elsewhere."
    return Finding(
        severity="block", kind="nothing_tracked", message=message, fix=fix, frame=first.frame, value=0.0, **_move_start(measured)
    )


def _move_start(measured: Measurements) -> dict:
    """The mending where a later start, in the first three quarters of the range, shows clearly more surface."""
    candidates = measured.frames[: max(1, len(measured.frames) * 3 // 4)]
    most = max(frame.surface for frame in candidates)
    best = next(frame for frame in candidates if frame.surface >= most - 0.01)
    start, end = int(np.ceil(best.frame)), int(measured.request.end)
    if best.surface < measured.first.surface + 0.02 or start >= end:
        return {}
    return {"operator": "das.move_start", "options": {"start": start, "end": end}}


def _judge_later(shot: list[FrameMeasure]) -> list[Finding]:
    worst = min(shot[1:], key=lambda frame: frame.tracked, default=None)
    severity = TRACKED_LATER.severity(worst.tracked) if worst else None
    if severity is None or shot[0].tracked == 0:
        return []
    return [
        Finding(
            severity=severity, kind="tracked_later", frame=worst.frame, value=worst.tracked,
            message=f"At {scene_frame(worst.frame)}, only {percent(worst.tracked)} of the frame has a tracking colour.",
            fix="Keep something of the first frame in view, or end the range before.",
        )
    ]  # fmt: skip


def _judge_unseen(measured: Measurements, shot: list[FrameMeasure]) -> list[Finding]:
    worst = max(shot[1:], key=lambda frame: frame.unseen, default=None)
    severity = UNSEEN.severity(worst.unseen) if worst else None
    if severity is None or shot[0].tracked == 0:
        return []
    parts = f"{percent(worst.hidden)} was hidden, {percent(worst.off_screen)} off screen"
    return [
        Finding(
            severity=severity, kind="unseen", frame=worst.frame, value=worst.unseen,
            message=f"At {scene_frame(worst.frame)}, {percent(worst.unseen)} of the frame is surface that the first frame "
            f"does not show ({parts}).",
            fix="Make the camera's move smaller, split the shot, or start where more of it is in view.",
            **_end_before_unseen(measured, shot),
        )
    ]  # fmt: skip


def _judge_lost(shot: list[FrameMeasure]) -> list[Finding]:
    worst = max(shot, key=lambda frame: frame.lost)
    severity = LOST.severity(worst.lost)
    if severity is None or shot[0].tracked == 0:
        return []
    return [
        Finding(
            severity=severity, kind="lost", frame=worst.frame, value=worst.lost,
            message=f"At {scene_frame(worst.frame)}, {percent(worst.lost)} of the frame is surface that cannot be followed from the "
            "first frame.",
            fix="Let objects that appear later be there at the start, out of view, and see what is listed as not tracked.",
        )
    ]  # fmt: skip


def _end_before_unseen(measured: Measurements, shot: list[FrameMeasure]) -> dict:
    """The mending where the first third of the range at least is good."""
    index = next(index for index, frame in enumerate(shot) if UNSEEN.severity(frame.unseen))
    start, end = int(measured.request.start), int(np.floor(shot[index - 1].frame))
    if index < len(measured.frames) / 3 or end <= start:
        return {}
    return {"operator": "das.end_earlier", "options": {"start": start, "end": end}}


def _judge_motion(measured: Measurements, shot: list[FrameMeasure]) -> list[Finding]:
    fastest = max(shot[1:], key=lambda frame: frame.motion, default=None)
    if fastest is None or shot[0].tracked == 0:
        return []
    if len(shot) == len(measured.frames) and STILL.severity(sum(frame.fastest for frame in shot)):
        return [_nothing_moves(measured, sum(frame.fastest for frame in shot))]
    findings = _judge_still_ends(measured, shot)
    share = fastest.motion / measured.request.width
    if severity := MOTION.severity(share):
        whose = f", most of all {fastest.fastest_object}" if fastest.fastest_object else ""
        findings.append(
            Finding(
                severity=severity, kind="motion", frame=fastest.frame, value=fastest.motion,
                message=f"At {scene_frame(fastest.frame)}, the picture moves {fastest.motion:.0f} pixels from one result to the "
                f"next{whose}.",
                fix="Choose a shorter range, so that each result covers less of the motion, or slow the motion down.",
                **(_model_range(measured) if _step(measured) > 1 else {}),
            )
        )  # fmt: skip
    return findings


def _nothing_moves(measured: Measurements, moved: float) -> Finding:
    """A still: it blocks where the range has nothing to do with the file's own frames."""
    request, outside = measured.request, _is_outside(measured)
    own = f"{measured.scene_start}:{measured.scene_end}"
    return Finding(
        severity="block" if outside else "warning", kind="still", value=moved, frame=request.start,
        message=f"Nothing moves from frame {request.start:g} to {request.end:g}"
        + (f", which lies outside of the scene's frames {own}." if outside else "."),
        fix="Choose frames in which something moves.",
        **(_clamp(measured) if outside else {}),
    )  # fmt: skip


def _judge_still_ends(measured: Measurements, shot: list[FrameMeasure]) -> list[Finding]:
    """A long rest at the begin or the end of the range."""
    moving = [index for index, frame in enumerate(shot) if index and frame.fastest > MOVES]
    if not moving:
        return []
    steps, first, last = len(measured.frames) - 1, moving[0] - 1, moving[-1]
    rest = first + len(shot) - 1 - last
    severity = STILL_SHARE.severity(rest / steps)
    if severity is None:
        return []
    start, end = int(np.floor(shot[first].frame)), int(np.ceil(shot[last].frame))
    return [
        Finding(
            severity=severity, kind="rest", frame=shot[last].frame if last < len(shot) - 1 else shot[0].frame, value=rest / steps,
            message=f"Nothing moves in {percent(rest / steps)} of the range: all motion lies in frames {start} to {end}.",
            fix=f"Choose frames {start}:{end}.",
            operator="das.clamp_range", options={"start": start, "end": end},
        )
    ]  # fmt: skip


def _judge_range(measured: Measurements) -> list[Finding]:
    request, findings = measured.request, []
    if request.start < measured.scene_start or request.end > measured.scene_end:
        findings.append(
            Finding(
                severity="warning", kind="outside", frame=request.start,
                message=f"The range {request.start:g}:{request.end:g} goes beyond the scene's frames "
                f"{measured.scene_start}:{measured.scene_end}.",
                fix="Choose frames of the scene, where its animation is meant to be.",
                **_clamp(measured),
            )
        )  # fmt: skip
    if request.frames != MODEL_FRAMES and request.engine == "das":
        findings.append(
            Finding(
                severity="warning", kind="count", value=request.frames,
                message=f"The model was trained on {MODEL_FRAMES} frames, and {request.frames} are asked for.",
                fix=f"Ask for {MODEL_FRAMES} frames.",
                operator="das.model_frames",
            )
        )  # fmt: skip
    return findings + _judge_rate(measured)


def _judge_rate(measured: Measurements) -> list[Finding]:
    """How the results lie over the scene's frames; where they lie well but not one a frame, that is worth a note."""
    request, step = measured.request, _step(measured)
    rate = video_fps(request.start, request.end, request.frames, request.scene_fps)
    severity = RATE_LOW.severity(rate) or RATE_HIGH.severity(rate)
    if not severity and abs(step - 1) < 1e-6:
        return []
    length = f"{request.end - request.start + 1:g} frames at {request.scene_fps:.4g} fps"
    wanted = f"{request.frames} frames are one result each"
    return [
        Finding(
            severity=severity or "info", kind="rate" if severity else "step", value=rate if severity else step,
            message=f"The {request.frames} results over {length} make {rate:.3g} a second, one every {step:.3g} frames.",
            fix=f"Choose a shorter range: {wanted}." if step > 1 else f"Choose a longer range, or fewer results: {wanted}.",
            **_model_range(measured),
        )
    ]  # fmt: skip


def _step(measured: Measurements) -> float:
    """Scene frames from one result to the next."""
    return (measured.request.end - measured.request.start) / (measured.request.frames - 1)


def _model_range(measured: Measurements) -> dict:
    """The mending that gives each result a frame of its own, where the scene has as many."""
    start = int(np.ceil(measured.request.start))
    end = start + measured.request.frames - 1
    if end > max(measured.scene_end, measured.request.end):
        return {}
    return {"operator": "das.model_range", "options": {"start": start, "end": end}}


def _is_outside(measured: Measurements) -> bool:
    return measured.request.end <= measured.scene_start or measured.request.start >= measured.scene_end


def _clamp(measured: Measurements) -> dict:
    """The mending that keeps what lies in the scene's frames, or takes all of them where nothing does."""
    start, end = measured.scene_start, measured.scene_end
    if not _is_outside(measured):
        start, end = max(start, int(np.ceil(measured.request.start))), min(end, int(np.floor(measured.request.end)))
    return {"operator": "das.clamp_range", "options": {"start": start, "end": end}} if start < end else {}


def _judge_cuts(measured: Measurements, cuts: list[int]) -> list[Finding]:
    if not cuts:
        return []
    frames, index = measured.frames, cuts[0]
    here, before = frames[index], frames[index - 1]
    if here.camera != before.camera:
        message = f"The camera cuts from {before.camera} to {here.camera} at {scene_frame(here.frame)}"
    else:
        message = f"The camera jumps by {here.view_motion:.0f} pixels at {scene_frame(here.frame)}"
    more = f", and {len(cuts) - 1} times more after it" if len(cuts) > 1 else ""
    start, end = longest_shot(frames, cuts)
    mend, fix = {}, "Choose a range without a cut."
    if start < end:
        mend = {"operator": "das.split_at_cut", "options": {"start": start, "end": end}}
        fix = f"Make each shot by itself: frames {start}:{end} are the longest without a cut."
    return [
        Finding(
            severity="block", kind="cut", frame=here.frame, value=here.view_motion, message=f"{message}{more}.", fix=fix, **mend,
        )
    ]  # fmt: skip


def _judge_clipping(measured: Measurements) -> list[Finding]:
    findings = []
    near = max(measured.frames, key=lambda frame: frame.cut_near)
    if severity := CLIPPED.severity(near.cut_near):
        findings.append(
            Finding(
                severity=severity, kind="clip_near", frame=near.frame, value=near.cut_near,
                message=f"The camera's clip start of {near.near:g} cuts away {percent(near.cut_near)} of "
                f"{scene_frame(near.frame)}.",
                fix="Lower the camera's clip start, or keep the camera out of things.",
                operator="das.widen_clipping", options={"camera": near.camera, "clip_start": measured.nearest * 0.9},
            )
        )  # fmt: skip
    far = max(measured.frames, key=lambda frame: frame.cut_far)
    if severity := CLIPPED.severity(far.cut_far):
        findings.append(
            Finding(
                severity=severity, kind="clip_far", frame=far.frame, value=far.cut_far,
                message=f"The camera's clip end of {far.far:g} cuts away {percent(far.cut_far)} of {scene_frame(far.frame)}.",
                fix="Raise the camera's clip end.",
                operator="das.widen_clipping", options={"camera": far.camera, "clip_end": measured.farthest * 1.1},
            )
        )  # fmt: skip
    return findings


def _judge_depth(measured: Measurements) -> list[Finding]:
    ratio = measured.depth_high / measured.depth_low if measured.depth_low > 0 else 1.0
    severity = DEPTH_RANGE.severity(ratio)
    if severity is None:
        return []
    return [
        Finding(
            severity=severity, kind="depth_range", frame=measured.first.frame, value=ratio,
            message=f"At the start the scene reaches from {measured.depth_low:.3g} to {measured.depth_high:.3g} units of depth, "
            f"1 to {ratio:.0f}.",
            fix="Hide a sky dome or far background in renders, or bring it closer.",
        )
    ]  # fmt: skip


def _judge_alignment(alignment: Alignment | None, is_file: bool) -> list[Finding]:
    """A render of the very scene never blocks: where it does not match, its outlines have no contrast."""
    if alignment is None:
        return []
    fix = "Render or paint the first frame again from this camera at the range's first frame."
    if alignment.why_not:
        message = f"Whether the first frame lines up cannot be told: {alignment.why_not}."
        return [Finding(severity="info", kind="alignment_unknown", message=message, fix="Look at it over the tracking video.")]
    if severity := MATCH.severity(alignment.best):
        severity = severity if is_file else "warning"
        message = "The first frame does not show the outlines of the scene as the camera sees them."
        return [Finding(severity=severity, kind="first_frame_match", message=message, fix=fix, value=alignment.best)]
    if severity := OFFSET.severity(alignment.offset):
        where = f"{abs(alignment.across)} pixels {'right' if alignment.across > 0 else 'left'} and "
        where += f"{abs(alignment.down)} {'down' if alignment.down > 0 else 'up'}"
        message = f"The first frame is shifted against the tracking video, {where}."
        return [Finding(severity=severity, kind="first_frame_offset", message=message, fix=fix, value=alignment.offset)]
    return []


def _judge_untracked(untracked: list[Untracked]) -> list[Finding]:
    findings = []
    for reason in dict.fromkeys(each.reason for each in untracked):
        names = list(dict.fromkeys(each.name for each in untracked if each.reason == reason))
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        findings.append(
            Finding(
                severity="warning", kind="untracked", value=len(names), message=f"Not tracked: {shown} ({reason.rstrip('.')}).",
                fix="The model makes up how they move; hide them in renders, or turn them into meshes, if that matters.",
            )
        )  # fmt: skip
    return findings
