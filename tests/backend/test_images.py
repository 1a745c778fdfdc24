import imageio.v3 as imageio
import numpy as np
import pytest

from diffusion_as_shader.backend.images import ImageioImages
from diffusion_as_shader.shared.errors import UsageError


@pytest.fixture
def images() -> ImageioImages:
    return ImageioImages()


def noise(*shape: int, most: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, most, shape, np.uint8)


def smooth_frames(count: int, height: int, width: int) -> np.ndarray:
    rows, columns = np.indices((height, width))
    return np.stack([np.stack([columns * 2 + 5 * t, rows * 3, rows + columns], -1) % 200 for t in range(count)]).astype(np.uint8)


def test_png_is_exact_also_under_a_partial_name(images, tmp_path):
    pixels = noise(31, 47, 3)
    images.write(tmp_path / "0001.png.partial", pixels)
    assert (tmp_path / "0001.png.partial").read_bytes()[:4] == b"\x89PNG"
    assert np.array_equal(images.read(tmp_path / "0001.png.partial"), pixels)


def test_transparency_lies_over_black(images, tmp_path):
    pixels = np.full((4, 4, 4), 200, np.uint8)
    pixels[0, :, 3], pixels[1, :, 3] = 0, 128
    pixels[2:, :, 3] = 255
    imageio.imwrite(tmp_path / "a.png", pixels)
    read = images.read(tmp_path / "a.png")
    assert (read[0] == 0).all() and (read[1] == 100).all() and (read[2:] == 200).all()


@pytest.mark.parametrize("kind", ["grey", "grey16", "palette", "jpeg"])
def test_other_kinds_of_image_are_read_as_8_bit_rgb(images, tmp_path, kind):
    level = np.arange(0, 256, 8, dtype=np.uint8).reshape(1, 32).repeat(16, axis=0)
    file = tmp_path / ("a.jpg" if kind == "jpeg" else "a.png")
    if kind == "grey16":
        imageio.imwrite(file, level.astype(np.uint16) * 257)
    elif kind == "palette":
        file = tmp_path / "a.gif"
        imageio.imwrite(file, level)
    else:
        imageio.imwrite(file, level)
    read = images.read(file)
    assert read.dtype == np.uint8 and read.shape == (16, 32, 3)
    assert np.abs(read.astype(int) - level[..., None]).max() <= (4 if kind == "jpeg" else 0)


@pytest.mark.parametrize("content", [None, b"", b"no image", b"\x89PNG\r\n\x1a\n broken"])
def test_what_is_no_image_is_told(images, tmp_path, content):
    file = tmp_path / "a.png"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UsageError) as told:
        images.read(file)
    assert "a.png" in told.value.message and told.value.fix


def test_video_for_people(images, tmp_path):
    """H.264, even sides without a stretch, the asked rate, the index before the data."""
    frames = smooth_frames(9, 47, 63)
    files = [tmp_path / f"{index}.png" for index in range(9)]
    for file, frame in zip(files, frames):
        images.write(file, frame)
    images.write_video(tmp_path / "video.mp4", files, fps=49 * 24 / 30)
    read = images.read_video(tmp_path / "video.mp4")
    assert read.shape == (9, 48, 64, 3)
    assert np.abs(read[:, :47, :63].astype(int) - frames).mean() < 6
    told = imageio.immeta(tmp_path / "video.mp4", plugin="pyav")
    assert told["codec"] == "h264" and told["video_format"] == "yuv420p" and abs(told["fps"] - 39.2) < 1e-3
    content = (tmp_path / "video.mp4").read_bytes()
    assert content.index(b"moov") < content.index(b"mdat") and b"crf=16" in content
    assert not list(tmp_path.glob("*.partial"))


def test_lossless_video_comes_back_exactly(images, tmp_path):
    frames = noise(5, 30, 46, 3)
    images.write_lossless(tmp_path / "a.mkv", frames, fps=24)
    assert np.array_equal(images.read_video(tmp_path / "a.mkv"), frames)
    assert imageio.immeta(tmp_path / "a.mkv", plugin="pyav")["video_format"] == "bgr0"


def test_a_video_that_fails_leaves_nothing(images, tmp_path):
    images.write(tmp_path / "0.png", noise(16, 16, 3))
    with pytest.raises(UsageError):
        images.write_video(tmp_path / "video.mp4", [tmp_path / "0.png", tmp_path / "missing.png"], fps=24)
    assert [file.name for file in tmp_path.iterdir()] == ["0.png"]
    with pytest.raises(UsageError):
        images.write_video(tmp_path / "video.mp4", [], fps=24)


def test_videos_have_a_bound(images, tmp_path):
    images.write_lossless(tmp_path / "a.mkv", noise(6, 16, 16, 3), fps=24)
    assert len(images.read_video(tmp_path / "a.mkv", most=6)) == 6
    with pytest.raises(UsageError, match="more than 5"):
        images.read_video(tmp_path / "a.mkv", most=5)
    (tmp_path / "b.mp4").write_bytes(b"no video")
    for wrong in ("b.mp4", "missing.mp4"):
        with pytest.raises(UsageError, match=wrong):
            images.read_video(tmp_path / wrong)
