"""A take made of another's tracking video."""

import os

import numpy as np
import pytest

from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.png import encode
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.take import Take
from diffusion_as_shader.shared.take_copy import copy_take


class Pictures:
    def write(self, file, pixels):
        file.write_bytes(encode(pixels))


@pytest.fixture
def source(tmp_path) -> Take:
    take = Take.create(tmp_path / "quelle ü", GenerationRequest(width=16, height=16, frames=9), Pictures(), "scene.blend")
    for index in range(9):
        take.write_tracking_frame(index, np.full((16, 16, 3), index, np.uint8))
    take.write_first_frame(np.zeros((16, 16, 3), np.uint8))
    take.write_signals({"valid": np.ones((9, 16, 16), bool)})
    take.record.hashes["tracking"] = "abc"
    take.save()
    return take


def test_it_has_all_of_it_and_is_its_own(source, tmp_path):
    copy = copy_take(source, tmp_path / "copy", source.record.request)
    assert copy.record.job != source.record.job and copy.record.scene == "scene.blend"
    assert copy.record.hashes == source.record.hashes
    for name in ("tracking/0009.png", "first_frame.png", "signals.npz"):
        assert (copy.folder / name).read_bytes() == (source.folder / name).read_bytes()
    copy.write_first_frame(np.ones((16, 16, 3), np.uint8))
    copy.write_tracking_frame(0, np.ones((16, 16, 3), np.uint8))
    assert (copy.folder / "first_frame.png").read_bytes() != (source.folder / "first_frame.png").read_bytes()
    assert source.tracking_file(0).read_bytes() == encode(np.zeros((16, 16, 3), np.uint8))


def test_it_takes_no_space_twice(source, tmp_path):
    copy = copy_take(source, tmp_path / "copy", source.record.request)
    assert os.path.samefile(copy.folder / "signals.npz", source.folder / "signals.npz")
    assert not os.path.samefile(copy.folder / "first_frame.png", source.folder / "first_frame.png")


def test_a_source_that_is_not_whole(source, tmp_path):
    source.tracking_file(4).unlink()
    with pytest.raises(UsageError, match="0005.png is missing"):
        copy_take(source, tmp_path / "copy", source.record.request)
    assert not (tmp_path / "copy").exists()
