"""The control score of tracks and videos whose motion is known."""

import msgspec
import numpy as np
import pytest

cv2 = pytest.importorskip("cv2")

from diffusion_as_shader.backend.commands import benchmark_score as benchmark  # noqa: E402
from diffusion_as_shader.backend.vision.control import score_tracks, score_video  # noqa: E402
from diffusion_as_shader.shared.errors import Cancelled  # noqa: E402
from diffusion_as_shader.shared.track_files import Tracks  # noqa: E402

WIDTH, COUNT = 240, 6  # FAR is 10 pixels


def truth(speeds, points=(4, 4)):
    """Two objects of some points that move to the right by so many pixels a frame."""
    starts = np.random.default_rng(0).uniform(20, 100, (sum(points), 2))
    speed = np.repeat(speeds, points)
    xy = starts + np.arange(COUNT)[:, None, None] * np.stack([speed, np.zeros_like(speed)], axis=-1)
    return Tracks(xy=xy.astype(np.float32), visible=np.ones(xy.shape[:2], bool), objects=np.repeat([1, 2], points).astype(np.uint16))


def off_by(true, pixels):
    """The true tracks, but so many pixels down; a number a point or one for all."""
    xy = true.xy.copy()
    xy[1:, :, 1] += pixels
    return msgspec.structs.replace(true, xy=xy)


def still(true):
    return msgspec.structs.replace(true, xy=np.repeat(true.xy[:1], COUNT, axis=0))


def test_true_tracks_have_one_and_standing_still_has_none():
    true = truth([3.0, 1.0])
    assert score_tracks(true, true, WIDTH).value == 1
    assert score_tracks(still(true), true, WIDTH).value == 0


def test_a_still_ground_does_not_drown_what_moves():
    true = truth([2.0, 0.0], points=(9, 900))
    frozen = score_tracks(still(true), true, WIDTH)
    assert frozen.value == 0 and frozen.within[4] > 0.99, "the ground is where it should be"
    assert {part.number: part.value for part in frozen.objects} == {1: 0, 2: None}
    assert score_tracks(true, true, WIDTH).value == 1


def test_a_ground_that_should_be_still_and_moves_costs():
    true = truth([2.0, 0.0], points=(9, 36))
    moved = off_by(true, np.where(true.objects == 2, 1.5, 0))
    # motion 2, 4, 6, 8, 10 of weight 3; error 1.5 of weight 6
    assert score_tracks(moved, true, WIDTH).value == pytest.approx(1 - (6 * 1.5) / (3 * 6))


def test_errors_count_against_the_motion_up_to_a_bound():
    true = truth([2.0, 2.0])
    assert score_tracks(off_by(true, 3.0), true, WIDTH).value == pytest.approx(1 - 3 / 6)
    assert score_tracks(off_by(true, 500.0), true, WIDTH).value == 0
    lost = msgspec.structs.replace(true, xy=np.where(true.objects[:, None] == 1, true.xy, np.nan))
    lost.xy[0] = true.xy[0]
    found = score_tracks(lost, true, WIDTH)
    assert found.value == pytest.approx(0.5) and [part.value for part in found.objects] == [1, 0]
    assert np.isfinite(found.median_error), "it can be written as JSON"


def test_a_point_counts_until_it_is_hidden():
    true = truth([2.0, 2.0])
    true.visible[3, 0] = False
    found = off_by(true, 0.0)
    found.xy[4:, 0] += 50  # after it was hidden
    assert score_tracks(found, true, WIDTH).value == 1
    found.xy[2, 0] += 50
    assert score_tracks(found, true, WIDTH).value < 1


def test_what_does_not_move_has_no_score():
    found = score_tracks(truth([0.1, 0.0]), truth([0.1, 0.0]), WIDTH)
    assert found.value is None and "Nothing moves" in found.why_not and found.median_error == 0


def test_objects_are_measured_apart():
    true = truth([4.0, 4.0])
    found = score_tracks(off_by(true, np.where(true.objects == 2, 6.0, 0.5)), true, WIDTH)
    first, second = found.objects
    assert (first.median_error, second.median_error) == pytest.approx((0.5, 6)) and first.motion == second.motion == 12
    assert first.within == {4: 1, 8: 1} and second.within == {4: 0, 8: 1}
    assert second.value < found.value < first.value and found.points == 8


@pytest.fixture(scope="module")
def clip():
    """A card with a texture crosses a wall that shifts slowly: u8 [T,H,W,3] and its truth."""
    frames, size = 11, (144, 96)
    wall, card = (np.clip(127 + 45 * soft / soft.std(), 0, 255).astype(np.uint8) for soft in map(_soft, (1, 2)))
    video = np.stack([wall[40 : 40 + size[1], 60 - index : 60 - index + size[0]] for index in range(frames)])
    y, x = (each.ravel() + 0.5 for each in np.mgrid[4:96:6, 4:144:6])
    on_card = (x > 14) & (x < 50) & (y > 24) & (y < 66)
    xy = np.stack([np.stack([x + index * np.where(on_card, 5, 1), y + np.where(on_card, index, 0)], axis=-1) for index in range(frames)])
    visible = ((xy >= 0) & (xy < size)).all(axis=-1)
    for index in range(frames):
        left, top = 12 + 5 * index, 22 + index
        video[index, top : top + 46, left : left + 40] = card[:46, :40]
        visible[index] &= on_card | ~((xy[index] >= (left, top)) & (xy[index] < (left + 40, top + 46))).all(axis=-1)
    known = on_card | (x < 11) | (x > 53) | (y < 21) | (y > 69)
    truth = Tracks(xy=xy[:, known].astype(np.float32), visible=visible[:, known], objects=np.where(on_card, 1, 2)[known].astype(np.uint16))
    return video, truth


def _soft(seed):
    return cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 1, (200, 220, 3)), (0, 0), 2)


def test_wrong_videos_are_below_the_true_one_and_below_ones_that_only_look_different(clip):
    video, truth = clip
    made = {
        "true": video,
        "noise": benchmark.with_noise(video),
        "colours": benchmark.in_other_colours(video),
        "late": benchmark.late(video),
        "backwards": np.concatenate([video[:1], video[:0:-1]]),
        "frozen": np.repeat(video[:1], len(video), axis=0),
    }
    values = {name: score_video(each, truth).value for name, each in made.items()}
    assert values["true"] > 0.75 and min(values["noise"], values["colours"]) > values["true"] - 0.08
    assert max(values["late"], values["backwards"]) < values["true"] - 0.3 and values["frozen"] < 0.02


def test_the_score_is_the_same_every_time_and_can_be_stopped(clip):
    video, truth = clip
    assert score_video(video[:5], _first(truth, 5)) == score_video(video[:5], _first(truth, 5))
    with pytest.raises(Cancelled):
        score_video(video[:5], _first(truth, 5), cancelled=lambda: True)


def _first(truth, count):
    return msgspec.structs.replace(truth, xy=truth.xy[:count], visible=truth.visible[:count])
