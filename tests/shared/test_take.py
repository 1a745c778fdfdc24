"""The take folder: whole files or none, every state told, everything read back."""

import os

import numpy as np
import pytest

from diffusion_as_shader.shared import png
from diffusion_as_shader.shared.camera import Camera, Intrinsics, camera_path
from diffusion_as_shader.shared.errors import GenerationError, UsageError
from diffusion_as_shader.shared.request import GenerationRequest
from diffusion_as_shader.shared.take import Failure, Take, content_hash, new_take_folder

REQUEST = GenerationRequest(width=32, height=16, frames=9, start=1, end=9, prompt="a fox")


class Pictures:
    """Pictures as numpy files under their PNG names: exact, and needing no package."""

    def read(self, file):
        return np.load(file)

    def write(self, file, pixels):
        with file.open("wb") as stream:
            np.save(stream, pixels)

    def writing_video(self, file, frames, fps):
        yield
        file.write_text(f"{len(frames)} at {fps:g}")


class FullDisk(Pictures):
    """A disk that is full after the first bytes."""

    def write(self, file, pixels):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")


@pytest.fixture
def take(tmp_path):
    return Take.create(tmp_path / "take", REQUEST, Pictures(), scene="a.blend")


def picture(value=0):
    return np.full((16, 32, 3), value, np.uint8)


def files(folder):
    return sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())


def test_a_take_is_read_back_as_it_was(take):
    signals = {
        "valid": np.ones((9, 16, 32), bool),
        "rest": np.random.default_rng(0).random((9, 16, 32, 3), np.float32),
        "object": np.full((9, 16, 32), 7, np.uint16),
        "depth": np.full((9, 16, 32), np.inf, np.float32),
    }
    cameras = [Camera(Intrinsics(32, 16, 40, 40, 16, 8), np.eye(4))] * 9
    for index in range(9):
        take.write_tracking_frame(index, picture(index))
    take.write_first_frame(picture(9))
    take.write_signals(signals)
    take.write_camera_path(camera_path(cameras, np.arange(1, 10), 24))
    take.note("One.")
    take.note("One.")
    take.set_state("queued")
    again = Take.open(take.folder, Pictures())
    assert again.record == take.record and again.record.notes == ["One."] and again.record.state == "queued"
    read = again.read_signals()
    assert set(read) == {"tracking", "first_frame", "K", "world_to_camera", *signals}
    assert all(np.array_equal(read[name], signals[name]) for name in signals)
    assert read["tracking"][:, 0, 0, 0].tolist() == list(range(9))
    assert read["K"].shape == (9, 3, 3) and read["world_to_camera"].shape == (9, 4, 4)
    assert again.record.hashes["first_frame"] == content_hash(picture(9))


def test_results_go_missing_until_they_arrive_and_the_video_keeps_the_duration(take):
    assert take.missing_frames() == list(range(9))
    for index in (0, 8, 3):
        assert take.write_frame(index, picture()).name == f"{index + 1:04d}.png"
    assert take.missing_frames() == [1, 2, 4, 5, 6, 7]
    take.write_video()
    assert take.video.read_text() == "3 at 24"


def test_nothing_half_written_has_a_final_name(take):
    before = files(take.folder)
    take.images = FullDisk()
    with pytest.raises(GenerationError, match="No space left on device") as caught:
        take.write_frame(0, picture())
    assert caught.value.fix
    assert files(take.folder) == before


def test_failure_is_kept(take):
    take.set_state("failed", Failure(kind="generation", message="It broke.", fix="Mend it."))
    record = Take.open(take.folder, Pictures()).record
    assert record.failure.message == "It broke." and record.state == "failed"
    take.set_state("done")
    assert Take.open(take.folder, Pictures()).record.failure is None


def test_a_folder_that_holds_anything_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("x")
    with pytest.raises(UsageError, match="is not empty"):
        Take.create(tmp_path, REQUEST, Pictures())
    assert files(tmp_path) == ["mine.txt"]


def test_a_file_in_the_way_is_said(tmp_path):
    (tmp_path / "file").write_text("x")
    with pytest.raises(UsageError, match="cannot be made"):
        Take.create(tmp_path / "file" / "take", REQUEST, Pictures())
    with pytest.raises(UsageError, match="No take can be made"):
        new_take_folder(tmp_path / "file", "scene")


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_an_unwritable_folder_is_said(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(UsageError, match="cannot be made"):
        Take.create(tmp_path / "take", REQUEST, Pictures())


def test_what_is_no_take_is_said(tmp_path):
    with pytest.raises(UsageError, match="is no take folder"):
        Take.open(tmp_path, Pictures())
    (tmp_path / "take.json").write_text('{"job": 5')
    with pytest.raises(UsageError, match="cannot be read"):
        Take.open(tmp_path, Pictures())


def test_a_picture_of_another_size_is_said(take):
    take.write_first_frame(np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match="8x8, the take is 32x16"):
        take.read_first_frame()


def test_numbered_folders_count_up(tmp_path):
    made = [new_take_folder(tmp_path / "das", "shot.a").name for _ in range(2)]
    (tmp_path / "das" / "shot.a-041").mkdir()
    (tmp_path / "das" / "shotxa-099").mkdir()
    assert [*made, new_take_folder(tmp_path / "das", "shot.a").name] == ["shot.a-001", "shot.a-002", "shot.a-042"]
    assert new_take_folder(tmp_path / "das", "shot.a", ["shot.a-043", "shot.b-099"]).name == "shot.a-044"


def test_discard_takes_only_what_was_made(take):
    (take.folder / "mine.txt").write_text("x")
    take.discard()
    assert files(take.folder) == ["mine.txt"]


def test_discard_leaves_no_empty_folder(take):
    take.discard()
    assert not take.folder.exists()


@pytest.mark.parametrize(
    ("pixels", "form"),
    [
        (np.random.default_rng(0).integers(0, 256, (7, 5, 3), dtype=np.uint8), (5, 7, 8, 2, 0, 0, 0)),
        (np.random.default_rng(0).integers(0, 65536, (7, 5), dtype=np.uint16), (5, 7, 16, 0, 0, 0, 0)),
    ],
    ids=["colour", "16-bit grey"],
)
def test_png_has_the_forms_of_its_specification(pixels, form):
    """Decoded by hand: signature, chunk checksums, and filter 2 undone give the pixels again."""
    import struct
    import zlib

    data, chunks, place = png.encode(pixels), {}, 8
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    while place < len(data):
        (length,) = struct.unpack(">I", data[place : place + 4])
        body = data[place + 4 : place + 8 + length]
        assert struct.unpack(">I", data[place + 8 + length : place + 12 + length]) == (zlib.crc32(body),)
        chunks[body[:4]], place = body[4:], place + 12 + length
    assert struct.unpack(">IIBBBBB", chunks[b"IHDR"]) == form
    rows = np.frombuffer(zlib.decompress(chunks[b"IDAT"]), np.uint8).reshape(7, -1)
    assert (rows[:, 0] == 2).all()
    unfiltered = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8)
    assert np.array_equal(unfiltered.reshape(-1).view(pixels.dtype.newbyteorder(">")).reshape(pixels.shape), pixels)


def test_signals_grow_frame_by_frame_on_disk(take):
    signals = {"rest": np.random.default_rng(0).random((9, 16, 32, 3), np.float32), "valid": np.arange(4608).reshape(9, 16, 32) % 3 == 0}
    stacks = {}
    for index in range(9):
        take.stack(stacks, {name: array[index] for name, array in signals.items()})
    assert list(take.writing_signals(stacks))[-1] == (18, 18)
    with np.load(take.folder / "signals.npz") as stored:
        assert all(np.array_equal(stored[name], signals[name]) for name in signals)
    assert files(take.folder) == ["signals.npz", "take.json"]


def test_signals_given_up_half_way_leave_nothing(take):
    writing = take.writing_signals({"depth": np.zeros((9, 16, 32), np.float32)})
    next(writing)
    assert files(take.folder) == ["signals.npz.partial", "take.json"]
    writing.close()
    assert files(take.folder) == ["take.json"]


@pytest.mark.skipif(os.name != "posix", reason="a limit of file sizes is POSIX's")
def test_a_disk_that_fills_up_in_the_signals_leaves_nothing(take):
    import resource
    import signal

    stacks, before = {}, resource.getrlimit(resource.RLIMIT_FSIZE)
    noise = np.random.default_rng(0).random((9, 16, 32, 3), np.float32)
    for picture in noise:
        take.stack(stacks, {"rest": picture})
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, before[1]))
    try:
        with pytest.raises(GenerationError, match="cannot be written"):
            take.write_signals(stacks)
        with pytest.raises(GenerationError, match="cannot be written"):
            for _ in range(100):
                take.stack(stacks, {"depth": noise[0]})
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert files(take.folder) == ["take.json"]
