"""Inputs of a task: of the right names, types and shapes, or one sentence."""

import numpy as np
import pytest

from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.task_signals import check_inputs, check_output

REQUEST = GenerationRequest(task="camera_control", width=32, height=16, frames=9)
PICTURE = np.zeros((1, 16, 32, 3), np.uint8)
VIDEO = np.zeros((9, 16, 32, 3), np.uint8)


def test_a_picture_or_a_video_with_what_belongs_to_it():
    check_inputs(REQUEST, {"source": PICTURE, "source_depth": np.ones((1, 16, 32), np.float32)})
    check_inputs(REQUEST, {"source": VIDEO, "tracks": np.ones((9, 5, 2), np.float32), "track_visible": np.ones((9, 5), bool)})


@pytest.mark.parametrize(
    "inputs, said",
    [
        ({}, "The input source of camera_control is missing"),
        ({"source": PICTURE, "secret": PICTURE}, "There is no input 'secret'"),
        ({"source": PICTURE.astype(np.float32)}, "source is float32"),
        ({"source": VIDEO[:4]}, "The source has 4 frames, not 9"),
        ({"source": PICTURE[:, :8]}, "source is uint8 [1, 8, 32, 3], not uint8 [S, 16, 32, 3]"),
        ({"source": VIDEO, "source_depth": np.ones((1, 16, 32), np.float32)}, "source_depth is float32 [1, 16, 32]"),
        ({"source": PICTURE, "world_to_camera": np.zeros((8, 4, 4))}, "world_to_camera is float64 [8, 4, 4], not float64 [9, 4, 4]"),
        ({"source": VIDEO, "tracks": np.ones((9, 5, 2), np.float32), "track_visible": np.ones((9, 6), bool)}, "track_visible is bool"),
        ({"source": VIDEO, "tracks": np.ones((9, 2_000_000, 2), np.float32)}, "tracks is float32"),
        ({"source": PICTURE[0]}, "source is uint8 [16, 32, 3]"),
    ],
)
def test_refused(inputs, said):
    with pytest.raises(UsageError) as refused:
        check_inputs(REQUEST, inputs)
    assert said in refused.value.message


def test_what_a_task_makes_is_checked_too():
    check_output(REQUEST, "tracking", VIDEO)
    with pytest.raises(UsageError):
        check_output(REQUEST, "tracking", PICTURE)
    with pytest.raises(UsageError):
        check_output(REQUEST, "source", PICTURE)
