import msgspec
import numpy as np
import pytest

from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.backend.tracking_input import take_from_tracking
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest

IMAGES = ImageioImages()


def frames(count: int = 9, height: int = 32, width: int = 48) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, height, width, 3), np.uint8)


def request_with(folder, pixels: np.ndarray) -> GenerationRequest:
    IMAGES.write(folder / "first.png", pixels)
    return GenerationRequest(first_frame=FirstFrame(source="file", path=str(folder / "first.png")), prompt="a fox")


def write_folder(folder, pictures):
    folder.mkdir()
    for index, picture in enumerate(pictures):
        IMAGES.write(folder / f"frame_{index + 5}.png", picture)
    (folder / "notes.txt").write_text("not an image")
    return folder


def test_a_video_becomes_a_take(tmp_path):
    tracking = frames()
    IMAGES.write_lossless(tmp_path / "tracking.mkv", tracking, fps=24)
    take = take_from_tracking(tmp_path / "take", tmp_path / "tracking.mkv", request_with(tmp_path, tracking[0]))
    request = take.record.request
    assert (request.width, request.height, request.frames, request.prompt) == (48, 32, 9, "a fox")
    assert take.record.state == "prepared" and take.missing_frames() == list(range(9))
    signals = type(take).open(take.folder, IMAGES).read_signals()
    assert set(signals) == {"tracking", "first_frame"}
    assert np.array_equal(signals["tracking"], tracking) and np.array_equal(signals["first_frame"], tracking[0])


def test_a_folder_is_read_in_the_order_of_its_numbers(tmp_path):
    tracking = frames(17)
    source = write_folder(tmp_path / "in", tracking)  # frame_5 ... frame_21
    take = take_from_tracking(tmp_path / "take", source, request_with(tmp_path, tracking[0]))
    assert np.array_equal(take.read_tracking(), tracking)


def mixed_sizes():
    return [*frames(8), frames(1, 48, 48)[0]]


@pytest.mark.parametrize(
    "pictures, first, words",
    [
        (frames(10), frames(1)[0], "10 frames"),
        (frames(9), frames(1, 32, 64)[0], "64x32"),
        (frames(9, 30, 48), frames(1, 30, 48)[0], "48x30"),
        (mixed_sizes(), frames(1)[0], "48x48"),
        ([], frames(1)[0], "no images"),
    ],
)
def test_what_does_not_fit_is_told_and_no_take_is_left(tmp_path, pictures, first, words):
    source = write_folder(tmp_path / "in", pictures)
    with pytest.raises(UsageError, match=words):
        take_from_tracking(tmp_path / "take", source, request_with(tmp_path, first))
    assert not (tmp_path / "take").exists()


def test_a_missing_file_or_first_frame_is_told(tmp_path):
    request = request_with(tmp_path, frames(1)[0])
    with pytest.raises(UsageError, match="nowhere.mp4"):
        take_from_tracking(tmp_path / "take", tmp_path / "nowhere.mp4", request)
    rendered = msgspec.structs.replace(request, first_frame=FirstFrame())
    with pytest.raises(UsageError, match="first frame"):
        take_from_tracking(tmp_path / "take", write_folder(tmp_path / "in", frames()), rendered)
