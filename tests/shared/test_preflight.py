"""Numbers to findings: each threshold from both sides, and what the mending is called with."""

import msgspec
import numpy as np
import pytest

from diffusion_as_shader.shared.alignment import Alignment, align
from diffusion_as_shader.shared.measurements import FrameMeasure, Measurements, Untracked, percent, table
from diffusion_as_shader.shared.preflight import Finding, blocks, judge, worst_first
from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest
from diffusion_as_shader.shared.thresholds import THRESHOLDS, Threshold, documentation

replace = msgspec.structs.replace


def good(frames=49, **changes) -> Measurements:
    """A shot with nothing wrong: a frame of the scene for each result, gentle motion, all of it seen at the start."""
    request = GenerationRequest(frames=frames, start=1, end=frames)
    measures = [
        FrameMeasure(
            frame=1.0 + index, camera="Camera", surface=0.6, tracked=0.6, near=0.1, far=100.0,
            motion=4.0 * (index > 0), fastest=6.0 * (index > 0), fastest_object="Cube" * (index > 0), view_motion=2.0 * (index > 0),
        )
        for index in range(frames)
    ]  # fmt: skip
    whole = Measurements(
        request=request, frames=measures, scene_start=1, scene_end=frames, depth_low=2.0, depth_high=20.0
    )
    return replace(whole, **changes)


def changed(measured: Measurements, indices, **changes) -> Measurements:
    """The same shot, some of its frames with other numbers."""
    frames = [replace(frame, **changes) if index in indices else frame for index, frame in enumerate(measured.frames)]
    return replace(measured, frames=frames)


def only(measured: Measurements) -> Finding:
    findings = judge(measured)
    assert len(findings) == 1, [finding.message for finding in findings]
    return findings[0]


def test_a_good_shot_has_no_finding():
    assert judge(good()) == []
    assert judge(good(alignment=Alignment(0.6, 0, 0, 0.6))) == []


@pytest.mark.parametrize("threshold", THRESHOLDS, ids=lambda each: each.name)
def test_every_threshold_has_its_reason_and_its_order(threshold):
    assert len(threshold.reason) > 60 and threshold.reason.endswith(".") and threshold.number
    limits = [limit for limit in (threshold.warning, threshold.block) if limit is not None]
    assert limits and limits == sorted(limits, reverse=threshold.low), "a block is worse than a warning"


def test_a_threshold_judges_both_ways():
    high, low = Threshold("a", "", 1.0, 2.0, ""), Threshold("b", "", 2.0, 1.0, "", low=True)
    assert [high.severity(value) for value in (1, 1.5, 2, 2.5)] == [None, "warning", "warning", "block"]
    assert [low.severity(value) for value in (2, 1.5, 1, 0.5)] == [None, "warning", "warning", "block"]


@pytest.mark.parametrize("share, severity", [(0.051, None), (0.049, "warning"), (0.0051, "warning"), (0.0049, "block")])
def test_tracked_at_the_start(share, severity):
    found = judge(changed(good(), [0], tracked=share, surface=share))
    assert [each.severity for each in found] == ([severity] if severity else [])


def test_the_start_moves_to_where_most_is_seen():
    measured = changed(changed(good(), range(20), surface=0.03, tracked=0.03), [0], tracked=0.01)
    assert only(measured).operator == "das.move_start" and only(measured).options == {"start": 21, "end": 49}
    late = changed(changed(good(), range(40), surface=0.03, tracked=0.03), [0], tracked=0.01)
    assert only(late).operator == "", "too little of the range would be left"


def test_nothing_tracked_blocks_and_says_what_the_capture_says():
    empty = only(changed(good(), range(49), surface=0.0, tracked=0.0))
    assert (empty.severity, empty.kind, empty.operator) == ("block", "nothing_tracked", "")
    assert empty.message == "The camera sees no visible geometry in the first frame."
    lost = only(changed(good(), [0], surface=0.6, tracked=0.0, lost=0.6))
    assert lost.severity == "block" and "can be tracked" in lost.message
    later = only(changed(good(), range(10), surface=0.0, tracked=0.0))
    assert (later.operator, later.options["start"]) == ("das.move_start", 11)


def test_black_later_is_a_warning():
    assert judge(changed(good(), [30], tracked=0.021)) == []
    found = only(changed(good(), [30], tracked=0.01))
    assert (found.severity, found.kind, found.frame, found.value) == ("warning", "tracked_later", 31, 0.01)


def test_surface_never_seen_and_where_to_end_instead():
    assert judge(changed(good(), [30], hidden=0.2, off_screen=0.14)) == []
    found = only(changed(changed(good(), range(30, 49), hidden=0.2, off_screen=0.2), [40], off_screen=0.3))
    assert (found.severity, found.frame, found.value) == ("warning", 41, pytest.approx(0.5))
    assert "20 % was hidden, 30 % off screen" in found.message
    assert found.operator == "das.end_earlier" and found.options == {"start": 1, "end": 30}
    soon = only(changed(good(), range(10, 49), hidden=0.95))
    assert (soon.severity, soon.operator) == ("block", ""), "nine frames are not worth a shot"


def test_surface_that_cannot_be_followed():
    assert judge(changed(good(), [30], lost=0.1)) == []
    found = only(changed(good(), [30], lost=0.11))
    assert (found.kind, found.severity, found.frame) == ("lost", "warning", 31)


def test_motion():
    assert judge(changed(good(), [20], motion=36.0)) == []
    found = only(changed(good(), [20], motion=36.1, fastest=80.0))
    assert (found.severity, found.kind, found.frame) == ("warning", "motion", 21) and "Cube" in found.message
    assert found.operator == "", "each result has a frame of its own already"
    long = changed(good(request=GenerationRequest(start=1, end=97), scene_end=97), [20], motion=40.0)
    assert {each.kind: each.operator for each in judge(long)}["motion"] == "das.model_range"


def test_a_still_and_a_long_rest():
    assert only(changed(good(), range(1, 49), motion=0.0, fastest=0.01)).kind == "still"
    found = only(changed(good(), range(25, 49), motion=0.0, fastest=0.0))
    assert (found.kind, found.value, found.frame) == ("rest", 0.5, 25)
    assert found.operator == "das.clamp_range" and found.options == {"start": 1, "end": 25}
    assert judge(changed(good(), range(34, 49), motion=0.0, fastest=0.0)) == [], "15 of 48 steps is less than a third"


def test_ranges_outside_of_the_scene():
    partly = only(good(scene_start=10, scene_end=200))
    assert (partly.severity, partly.kind, partly.options) == ("warning", "outside", {"start": 10, "end": 49})
    still = changed(good(scene_start=100, scene_end=148), range(1, 49), motion=0.0, fastest=0.0)
    assert [each.severity for each in judge(still)] == ["block", "warning"] and blocks(judge(still))
    assert judge(still)[0].options == {"start": 100, "end": 148}


def test_rate_and_count():
    slow = good(request=GenerationRequest(frames=49, start=1, end=240), scene_end=240)
    found = only(slow)
    assert (found.kind, found.value) == ("rate", pytest.approx(49 * 24 / 240)) and found.options == {"start": 1, "end": 49}
    fast = only(good(request=GenerationRequest(frames=49, start=1, end=12), scene_end=12))
    assert (fast.kind, fast.value, fast.operator) == ("rate", 98, ""), "the scene has no more frames"
    assert only(replace(good(request=GenerationRequest(frames=49, start=1, end=12)), scene_end=60)).options["end"] == 49
    step = only(good(request=GenerationRequest(frames=49, start=1, end=97), scene_end=97))
    assert (step.kind, step.severity, step.value, step.options["end"]) == ("step", "info", 2, 49)
    assert judge(good(frames=17)) == []
    few = good(frames=17)
    few = replace(few, request=replace(few.request, engine="das"))
    assert (only(few).kind, only(few).operator) == ("count", "das.model_frames")


def test_a_camera_cut_blocks_and_is_split():
    cut = changed(changed(good(), range(17, 49), camera="Close"), [17], view_motion=200.0, motion=300.0, hidden=0.95)
    found = only(cut)  # what follows a cut is another shot
    assert (found.severity, found.kind, found.frame) == ("block", "cut", 18)
    assert "from Camera to Close at frame 18" in found.message
    assert found.operator == "das.split_at_cut" and found.options == {"start": 18, "end": 49}
    twice = changed(cut, range(40, 49), camera="Camera")
    assert only(changed(twice, [40], view_motion=200.0)).options == {"start": 18, "end": 40}
    every = [replace(frame, camera=str(index), view_motion=90.0) for index, frame in enumerate(cut.frames)]
    assert only(replace(cut, frames=every)).operator == "", "no piece is longer than a frame"
    same_place = changed(good(), range(17, 49), camera="Twin")
    assert judge(changed(same_place, [17], view_motion=0.5)) == []


@pytest.mark.parametrize("motion, around, jumps", [(80, 2, True), (71, 2, False), (80, 11, False), (200, 20, True)])
def test_a_jump_is_far_more_than_its_neighbours(motion, around, jumps):
    measured = changed(changed(good(), range(1, 49), view_motion=around), [20], view_motion=motion)
    assert [each.kind for each in judge(measured)] == (["cut"] if jumps else [])


def test_clipping_is_widened_beyond_what_it_cuts():
    assert judge(changed(good(), [5], cut_near=0.005, cut_far=0.005)) == []
    near = only(changed(good(nearest=0.02), [5], cut_near=0.01))
    assert near.operator == "das.widen_clipping" and near.options == {"camera": "Camera", "clip_start": pytest.approx(0.018)}
    far = only(changed(good(farthest=400.0), [5], cut_far=0.2))
    assert far.options == {"camera": "Camera", "clip_end": pytest.approx(440)} and "100" in far.message


def test_depth_range():
    assert judge(good(depth_low=1.0, depth_high=100.0)) == []
    assert only(good(depth_low=1.0, depth_high=101.0)).kind == "depth_range"


@pytest.mark.parametrize(
    "alignment, kind, severity",
    [
        (Alignment(0.6, 0, 0, 0.6), None, None),
        (Alignment(0.5, 2, 0, 0.6), "first_frame_offset", "warning"),
        (Alignment(0.1, -5, 0, 0.6), "first_frame_offset", "block"),
        (Alignment(0.2, 3, 0, 0.2), "first_frame_match", "warning"),
        (Alignment(0.0, 9, 9, 0.05), "first_frame_match", "block"),
        (Alignment(why_not="the picture is blank"), "alignment_unknown", "info"),
    ],
)
def test_alignment_is_judged(alignment, kind, severity):
    image = GenerationRequest(start=1, end=49, first_frame=FirstFrame(source="file", path="first.png"))
    measured = good(alignment=alignment, request=image)
    assert [(each.kind, each.severity) for each in judge(measured)] == ([(kind, severity)] if kind else [])


def test_a_render_of_the_scene_itself_may_lack_contrast():
    assert only(good(alignment=Alignment(0.0, 0, 0, 0.05))).severity == "warning"


def test_untracked_is_one_finding_a_reason():
    names = [Untracked(f"hair {number}", "hair has no surface") for number in range(6)] + [Untracked("smoke", "a volume")]
    found = judge(good(untracked=names))
    assert [each.value for each in found] == [6, 1] and "and 2 more" in found[0].message


def test_order_and_strictness():
    findings = [Finding(severity=one, kind=one, message="") for one in ("info", "warning", "block")]
    assert [each.severity for each in worst_first(findings)] == ["block", "warning", "info"]
    assert blocks(findings) and not blocks(findings[:2]) and blocks(findings[:2], strict=True)
    assert not blocks(findings[:1], strict=True)


def test_table_is_for_people():
    rows = dict(table(changed(good(), [20], fastest=50.0, hidden=0.25)))
    assert rows["tracked at the start"] == "60 %"
    assert "50.0 pixels at frame 21 (Cube)" in rows["largest motion from result to result"]
    assert rows["never seen at the start, at most"] == "25 % at frame 21"
    assert "not checked" in rows["first frame"] and "1:49 as 49 results" in rows["range"]
    assert [percent(share) for share in (0, 0.004, 0.0996, 0.5)] == ["0 %", "0.4 %", "10 %", "50 %"]


# pictures against outlines


def discs(seed: int, height=240, width=360):
    """Objects i32 and depth f32 of overlapping discs, and a noisy u8 picture of them."""
    random = np.random.default_rng(seed)
    objects, depth = np.zeros((height, width), np.int32), np.full((height, width), np.inf, np.float32)
    picture = np.full((height, width, 3), 40.0)
    rows, columns = np.mgrid[:height, :width]
    for number in range(1, 12):
        row, column, radius = random.integers(0, height), random.integers(0, width), random.integers(20, 60)
        inside = np.hypot(rows - row, columns - column) < radius
        objects[inside], depth[inside] = number, 30 - number
        picture[inside] = random.integers(20, 235, 3)
    picture += random.normal(0, 6, picture.shape)
    return objects, depth, np.clip(picture, 0, 255).astype(np.uint8)


def test_a_true_picture_lines_up():
    objects, depth, picture = discs(1)
    found = align(picture, objects, depth)
    assert found.offset == 0 and found.match > 0.8
    dark = align((picture // 8 + 3).astype(np.uint8), objects, depth)
    assert dark.offset == 0 and dark.match > 0.5


@pytest.mark.parametrize("down, across", [(8, 0), (0, -8), (-5, 6), (2, 2)])
def test_a_shifted_picture_is_measured_exactly(down, across):
    objects, depth, picture = discs(1)
    found = align(np.roll(picture, (down, across), (0, 1)), objects, depth)
    assert (found.down, found.across) == (down, across) and found.best > 0.7


def test_another_scene_does_not_match():
    objects, depth, _ = discs(1)
    assert align(discs(2)[2], objects, depth).best < 0.3
    noise = np.random.default_rng(0).integers(0, 255, (240, 360, 3)).astype(np.uint8)
    assert align(noise, objects, depth).best < 0.1


def test_what_cannot_be_told_says_why():
    objects, depth, picture = discs(1)
    assert "outlines" in align(picture, np.ones_like(objects), np.ones_like(depth)).why_not
    assert "blank" in align(np.full_like(picture, 90), objects, depth).why_not


def test_documentation_prints_the_same_thresholds(checkout):
    assert documentation() in (checkout / "docs" / "check.md").read_text(encoding="utf-8")
