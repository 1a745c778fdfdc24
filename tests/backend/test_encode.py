import argparse
import io
import json

import numpy as np
import pytest

from diffusion_as_shader.backend.commands import encode
from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.report import JsonReporter
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.take import Take


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (9, 32, 48, 3), np.uint8)


def make_take(folder, results: int) -> Take:
    take = Take.create(folder, GenerationRequest(width=48, height=32, frames=9, end=9.0), ImageioImages())
    for index, (tracking, result) in enumerate(zip(noise(1), noise(2))):
        take.write_tracking_frame(index, tracking)
        if index < results:
            take.write_frame(index, result)
    return take


def run(folder, codec="ffv1") -> list[dict]:
    out = io.StringIO()
    assert encode.run(argparse.Namespace(take=folder, codec=codec), JsonReporter(out, io.StringIO())) == 0
    return [json.loads(line) for line in out.getvalue().splitlines()]


@pytest.mark.parametrize(("codec", "ending"), [("ffv1", "mkv"), ("h264", "mp4")])
def test_tracking_and_frames_come_back_exactly(tmp_path, codec, ending):
    folder = make_take(tmp_path / "take", results=9).folder
    told = run(folder, codec)[-1]
    assert told["files"] == [str(folder / f"tracking.{ending}"), str(folder / f"frames.{ending}")]
    assert np.array_equal(ImageioImages().read_video(folder / f"tracking.{ending}"), noise(1))
    assert np.array_equal(ImageioImages().read_video(folder / f"frames.{ending}"), noise(2))
    assert not list(folder.glob("*.partial"))


def test_an_unfinished_take_has_its_tracking_encoded_and_says_so(tmp_path):
    folder = make_take(tmp_path / "take", results=4).folder
    told = run(folder)
    assert any(line["event"] == "note" for line in told) and not (folder / "frames.mkv").exists()
    assert np.array_equal(ImageioImages().read_video(folder / "tracking.mkv"), noise(1))


def test_no_take_or_a_missing_picture_is_a_usage_error(tmp_path):
    with pytest.raises(UsageError, match="take.json"):
        run(tmp_path)
    take = make_take(tmp_path / "take", results=9)
    take.tracking_file(3).unlink()
    with pytest.raises(UsageError, match="0004.png"):
        run(take.folder)
    assert not list(take.folder.glob("tracking.mkv*"))
