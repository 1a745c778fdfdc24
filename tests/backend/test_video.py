"""Clips from real files: which frames, which part of the picture, what is said, and what is refused."""

import struct
import tracemalloc

import numpy as np
import pytest

av = pytest.importorskip("av")

from diffusion_as_shader.backend.images import ImageioImages  # noqa: E402
from diffusion_as_shader.backend.vision import footage  # noqa: E402
from diffusion_as_shader.backend.vision.video import read_clip  # noqa: E402
from diffusion_as_shader.backend.vision.window import Window  # noqa: E402
from diffusion_as_shader.shared.errors import UsageError  # noqa: E402

BITS = 12


def numbered(number, width=96, height=64):
    """A picture that says its number in black and white bars, red at its lower left."""
    pixels = np.zeros((height, width, 3), np.uint8)
    for bit in range(BITS):
        if number >> bit & 1:
            pixels[: height // 2, bit * width // BITS : (bit + 1) * width // BITS] = 255
    pixels[height // 2 :, : width // 2] = (255, 0, 0)
    return pixels


def number_of(pixels):
    """The number that :func:`numbered` shows, wherever the whole picture's width is shown."""
    height, width = pixels.shape[:2]
    row = pixels[height // 4].mean(axis=-1)
    return sum(1 << bit for bit in range(BITS) if row[int((bit + 0.5) * width / BITS)] > 128)


def write_movie(file, count, *, fps=25, keyframes=50, codec="libx264", size=(96, 64), aspect=None):
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        stream.options = {"g": str(keyframes), "crf": "6"}
        if aspect:
            stream.codec_context.sample_aspect_ratio = aspect
        for number in range(1, count + 1):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(numbered(number, *size), format="rgb24")))
        container.mux(stream.encode())
    return file


def turn(file, matrix):
    """Write a display matrix into an mp4's track header, where phones write it."""
    content = bytearray(file.read_bytes())
    at = content.index(b"tkhd") + 44  # its name, version and flags, five numbers, 16 bytes of layer and volume
    content[at : at + 36] = struct.pack(">9i", *(value * 65536 for value in matrix), 0, 0, 0, 1 << 30)
    file.write_bytes(content)


@pytest.fixture(scope="module")
def movie(tmp_path_factory):
    """1200 frames with a keyframe every 50."""
    return write_movie(tmp_path_factory.mktemp("movie") / "long.mp4", 1200)


@pytest.mark.parametrize("frames", [None, (1, 9), (7, 30), (90, 1200), (1150, 1199), (40.5, 60.25)])
def test_the_nearest_frames_of_a_range_are_read(movie, frames):
    clip = read_clip(movie, count=9, size=(96, 64), frames=frames)
    start, end = frames or (1, 1200)
    wanted = np.linspace(start, end, 9)
    got = [number_of(frame) for frame in clip.frames]
    assert np.abs(np.array(got) - wanted).max() <= 0.5
    assert tuple(got) == clip.numbers
    assert (clip.start, clip.end, clip.fps, clip.count) == (start, end, 25, 1200)
    assert clip.frames.shape == (9, 64, 96, 3) and clip.frames.dtype == np.uint8


@pytest.mark.parametrize("kind, codec", [("mkv", "libx264"), ("avi", "mpeg4"), ("ts", "libx264")])
def test_other_kinds_of_files_are_searched_as_exactly(tmp_path, kind, codec):
    file = write_movie(tmp_path / f"a.{kind}", 400, codec=codec)
    for frames in (None, (7, 30), (101, 399)):
        clip = read_clip(file, count=9, size=(96, 64), frames=frames)
        assert tuple(number_of(frame) for frame in clip.frames) == clip.numbers
        assert clip.count == 400


def test_a_long_video_is_searched_and_not_decoded_whole(movie, monkeypatch):
    decoded = []
    decode = footage.Movie._decode
    monkeypatch.setattr(footage.Movie, "_decode", lambda self: (decoded.append(1) or frame for frame in decode(self)))
    read_clip(movie, count=5, size=(96, 64), frames=(1100, 1110))
    assert len(decoded) < 80
    decoded.clear()
    read_clip(movie, count=5, size=(96, 64))  # 300 frames apart
    assert len(decoded) < 5 * 60


def test_no_more_than_the_clip_is_held(movie):
    read_clip(movie, count=9, size=(96, 64))
    tracemalloc.start()
    read_clip(movie, count=9, size=(96, 64))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < (9 + 12) * 96 * 64 * 3  # all frames are 1200 such


def test_what_was_done_is_said(movie):
    clip = read_clip(movie, count=9, size=(64, 64))
    resampled, cropped = clip.notes
    assert resampled.startswith("The frames 1:1200 of long.mp4 (48.0 s at 25 frames a second) become 9: about one in 133.3")
    assert "96x64" in cropped and "64x64" in cropped
    assert "padded" in read_clip(movie, count=9, size=(64, 64), fit="pad").notes[1]
    assert read_clip(movie, count=9, size=(96, 64), frames=(1, 9)).notes == []
    assert "twice" in read_clip(movie, count=17, size=(96, 64), frames=(1, 9)).notes[0]


@pytest.mark.parametrize(
    "matrix, turned",
    [
        ((0, 1, 0, -1, 0), lambda picture: np.rot90(picture, -1)),
        ((0, -1, 0, 1, 0), lambda picture: np.rot90(picture)),
        ((-1, 0, 0, 0, -1), lambda picture: picture[::-1, ::-1]),
        ((-1, 0, 0, 0, 1), lambda picture: picture[:, ::-1]),
    ],
    ids=["90", "-90", "180", "mirrored"],
)
def test_a_turned_phone_video_comes_upright(tmp_path, matrix, turned):
    file = write_movie(tmp_path / "phone.mp4", 9)
    turn(file, matrix)
    expected = np.stack([turned(numbered(number)) for number in range(1, 10)])
    height, width = expected.shape[1:3]
    clip = read_clip(file, count=9, size=(width, height))
    assert clip.window.source == (width, height)
    assert np.abs(clip.frames.astype(int) - expected).mean() < 12  # what chroma subsampling costs
    assert np.abs(clip.frames.astype(int) - expected[:, ::-1, ::-1]).mean() > 30
    assert "upright" in clip.notes[0]


def test_pixels_that_are_not_square_are_made_square(tmp_path):
    file = write_movie(tmp_path / "wide.mp4", 9, aspect=2)
    clip = read_clip(file, count=9, size=(192, 64))
    assert clip.window.source == (192, 64)
    assert [number_of(frame) for frame in clip.frames] == list(range(1, 10))


def test_a_folder_of_images_is_a_video(tmp_path):
    for number in range(1, 21):
        ImageioImages().write(tmp_path / f"frame_{number}.png", numbered(number))
    clip = read_clip(tmp_path, count=9, size=(96, 64), frames=(2, 18))
    assert [number_of(frame) for frame in clip.frames] == list(range(2, 19, 2))
    assert "24 frames a second" in clip.notes[0]


def test_a_picture_is_one_frame(tmp_path):
    ImageioImages().write(tmp_path / "a.png", numbered(5))
    clip = read_clip(tmp_path / "a.png", count=49, size=(96, 64))
    assert (clip.frames[0] == numbered(5)).all() and len(clip.frames) == 1
    assert clip.end > clip.start and clip.fps > 0 and clip.notes == []
    with pytest.raises(UsageError, match="is a picture"):
        read_clip(tmp_path / "a.png", count=49, size=(96, 64), frames=(1, 5))


def test_refusals_say_the_fix(tmp_path, movie):
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").write_bytes(b"")
    write_movie(tmp_path / "one.mp4", 1)
    (tmp_path / "cut.mp4").write_bytes(movie.read_bytes()[:20_000])
    (tmp_path / "folder").mkdir()
    for name, frames, said in [
        ("text.mp4", None, "cannot be read as a video"),
        ("empty.mp4", None, "cannot be read as a video"),
        ("cut.mp4", None, "cannot be read as a video"),
        ("one.mp4", None, "has one frame only"),
        ("none.mp4", None, "no file"),
        ("folder", None, "holds no images"),
        (movie, (1, 1201), "has the frames 1:1200, not 1:1201"),
        (movie, (0, 9), "has the frames 1:1200"),
        (movie, (9, 9), "has the frames 1:1200"),
    ]:
        with pytest.raises(UsageError, match=said) as raised:
            read_clip(tmp_path / name, count=9, size=(96, 64), frames=frames)
        assert raised.value.fix and "\n" not in str(raised.value)


def test_a_file_that_breaks_off_is_refused(tmp_path):
    file = write_movie(tmp_path / "a.mkv", 300)
    content = file.read_bytes()
    half = tmp_path / "half.mkv"
    half.write_bytes(content[: len(content) // 2])
    clip = read_clip(half, count=9, size=(96, 64))  # what is there is read, and said
    assert clip.count < 200 and [number_of(frame) for frame in clip.frames] == list(clip.numbers)
    with pytest.raises(UsageError, match="has the frames"):
        read_clip(half, count=9, size=(96, 64), frames=(1, 300))


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("source", [(160, 90), (90, 160), (101, 67), (48, 32), (720, 480)])
def test_a_window_never_stretches(source, fit):
    """A disc stays as round as it was, where points say that it is, at the centre and beside it."""
    width, height = source
    x, y = np.meshgrid(np.arange(width) + 0.5, np.arange(height) + 0.5)
    centre, radius = np.array([width / 2 + 3, height / 2 - 4]), min(source) / 5
    disc = (np.hypot(x - centre[0], y - centre[1]) < radius).astype(np.uint8) * 255
    window = Window(source, (96, 64), fit)
    shown = window.picture(np.repeat(disc[..., None], 3, axis=-1))[..., 0] / 255
    across, down = np.meshgrid(np.arange(96) + 0.5, np.arange(64) + 0.5)
    mean = np.array([(shown * across).sum(), (shown * down).sum()]) / shown.sum()
    assert np.abs(mean - window.points(centre)).max() < 0.1
    spread = np.sqrt([(shown * (across - mean[0]) ** 2).sum() / shown.sum(), (shown * (down - mean[1]) ** 2).sum() / shown.sum()])
    assert np.abs(spread / (radius / 2 * window.scale) - 1).max() < 0.04
    moved = window.matrix @ (*centre, 1)
    assert np.allclose(moved[:2], window.points(centre))


def test_padding_is_black_and_cropping_fills():
    white = np.full((90, 160, 3), 255, np.uint8)
    padded = Window((160, 90), (96, 64), "pad").picture(white)
    assert (padded[5:59] == 255).all() and (padded[:5] == 0).all() and (padded[59:] == 0).all()
    assert (Window((160, 90), (96, 64), "crop").picture(white) == 255).all()


def test_values_lie_where_colours_do_and_are_never_mixed():
    depth = np.full((90, 160), 2.0, np.float32)
    depth[:, 80:] = np.inf
    window = Window((160, 90), (96, 64), "crop")
    shown = window.picture(depth, "values")
    assert shown.dtype == np.float32 and set(np.unique(shown)) == {2.0, np.inf}
    picture = window.picture(np.where(np.isinf(depth), 255, 0).astype(np.uint8))
    assert ((picture > 127) == np.isinf(shown)).all()
    mask = window.picture(np.isinf(depth), "values")
    assert mask.dtype == bool and (mask == np.isinf(shown)).all()
    half = window.picture(depth[::2, ::2], "values")  # of the same shape, at half the size
    assert (np.isinf(half) == np.isinf(shown)).mean() > 0.98
    with pytest.raises(UsageError, match="The mask is 160x160"):
        window.picture(np.zeros((160, 160), bool), "values", "The mask")


def test_arrays_of_the_source_are_sampled_as_its_frames(movie):
    clip = read_clip(movie, count=9, size=(96, 64), frames=(1, 1200))
    assert clip.sampled(np.arange(1, 1201)).tolist() == list(clip.numbers)
    assert clip.sampled(np.arange(9)).tolist() == list(range(9))
    assert clip.sampled(np.arange(1)).tolist() == [0]
    with pytest.raises(UsageError, match="The depth has 48 frames, the source has 1200"):
        clip.sampled(np.zeros(48), "The depth")
