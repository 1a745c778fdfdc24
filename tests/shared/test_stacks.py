"""Signals of a whole shot, grown on disk and read back a frame at a time."""

import numpy as np
import pytest

from diffusion_as_shader.shared.stacks import Stack
from diffusion_as_shader.shared.take import content_hash


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.uint16, np.float16, np.float32])
def test_a_stack_is_the_array_that_was_put_on_it(tmp_path, dtype):
    whole = (np.random.default_rng(0).random((4, 6, 5, 2)) * 200).astype(dtype)
    stack = Stack(tmp_path, 4, whole[0])
    for picture in whole:
        stack.append(picture)
    assert stack.shape == whole.shape and stack.dtype == whole.dtype
    assert np.array_equal(np.stack(list(stack)), whole)
    assert content_hash(stack) == content_hash(whole)
    array = stack.array()
    stack.close()
    assert np.array_equal(array, whole) and not array.flags.writeable


def test_pictures_of_another_form_are_refused(tmp_path):
    stack = Stack(tmp_path, 2, np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match="float64"):
        stack.append(np.zeros((4, 4)))


def test_nothing_is_left_in_the_folder(tmp_path):
    stack = Stack(tmp_path, 1, np.zeros(9, np.uint8))
    stack.append(np.zeros(9, np.uint8))
    array = stack.array()
    del stack, array
    assert list(tmp_path.iterdir()) == []
