"""Sampling a range and lying on the timeline again."""

import numpy as np
import pytest

from diffusion_as_shader.shared import timeline


def test_samples_are_even_and_inclusive():
    assert timeline.sample_frames(1, 49, 49).tolist() == list(range(1, 50))
    assert np.allclose(timeline.sample_frames(10, 14, 9), np.arange(10, 14.1, 0.5))


@pytest.mark.parametrize(
    "frame, expected", [(3.0, (3, 0.0)), (3.25, (3, 0.25)), (48.99999999, (49, 0.0)), (5.00000001, (5, 0.0)), (-1.5, (-2, 0.5))]
)
def test_split_frame(frame, expected):
    assert timeline.split_frame(frame) == pytest.approx(expected)


@pytest.mark.parametrize("start, end, count", [(1, 49, 49), (1, 120, 49), (5, 9, 49), (1, 10, 9), (-20, 30, 17)])
def test_the_strip_lasts_as_long_as_the_range_and_shows_the_nearest_result(start, end, count):
    elements = timeline.strip_elements(start, end, count)
    sampled = timeline.sample_frames(start, end, count)
    assert len(elements) == end - start + 1
    assert elements[0] == 0 and elements[-1] == count - 1
    for frame, element in zip(range(start, end + 1), elements):
        assert abs(sampled[element] - frame) == pytest.approx(np.abs(sampled - frame).min())


def test_the_video_lasts_as_long_as_the_range():
    assert 49 / timeline.video_fps(1, 120, 49, 24.0) == pytest.approx(120 / 24)
    assert timeline.video_fps(1, 49, 49, 24.0) == pytest.approx(24)
