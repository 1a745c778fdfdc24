"""signals.npz, a frame at a time."""

import numpy as np
import pytest

from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.signal_file import reading_arrays, writing_arrays

RANDOM = np.random.default_rng(0)
ARRAYS = {
    "valid": RANDOM.random((5, 6, 4)) > 0.5,
    "rest": RANDOM.random((5, 6, 4, 3), np.float32),
    "object": RANDOM.integers(0, 9, (5, 6, 4), np.uint16),
}


def test_what_is_written_is_read_by_numpy_and_by_us(tmp_path):
    file, read = tmp_path / "signals.npz", {}
    assert list(writing_arrays(file, ARRAYS)) == [(done, 15) for done in range(1, 16)]
    with np.load(file) as stored:
        assert all(np.array_equal(stored[name], array) for name, array in ARRAYS.items())
    assert list(reading_arrays(file, ("rest", "depth", "valid"), read)) == [(done, 10) for done in range(1, 11)]
    assert read.keys() == {"rest", "valid"}
    assert all(np.array_equal(array, ARRAYS[name]) and array.dtype == ARRAYS[name].dtype for name, array in read.items())


def test_what_numpy_has_written_is_read(tmp_path):
    np.savez_compressed(tmp_path / "signals.npz", **ARRAYS)
    read = {}
    list(reading_arrays(tmp_path / "signals.npz", ARRAYS, read))
    assert all(np.array_equal(read[name], array) for name, array in ARRAYS.items())


@pytest.mark.parametrize("kept", [0, 10, 0.5, 0.9])
def test_a_broken_file_is_said(tmp_path, kept):
    file = tmp_path / "signals.npz"
    list(writing_arrays(file, ARRAYS))
    content = file.read_bytes()
    file.write_bytes(content[: kept if kept > 1 else int(kept * len(content))])
    with pytest.raises(UsageError, match=r"signals\.npz cannot be read"):
        list(reading_arrays(file, ARRAYS, {}))


def test_a_changed_byte_is_said(tmp_path):
    file = tmp_path / "signals.npz"
    list(writing_arrays(file, ARRAYS))
    content = bytearray(file.read_bytes())
    content[content.index(ARRAYS["rest"].tobytes()) + 100] ^= 1
    file.write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        list(reading_arrays(file, ARRAYS, {}))


def test_an_array_of_objects_is_no_signal(tmp_path):
    np.savez(tmp_path / "signals.npz", rest=np.array([{}], object), allow_pickle=True)
    with pytest.raises(UsageError, match="cannot be read"):
        list(reading_arrays(tmp_path / "signals.npz", ("rest",), {}))
