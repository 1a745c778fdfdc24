"""Depth from files: every form that is read, and what is wrong with one."""

from pathlib import Path

import numpy as np
import pytest

from diffusion_as_shader.backend.vision.depth import judge, read_depth
from diffusion_as_shader.shared import exr, png
from diffusion_as_shader.shared.errors import UsageError

OpenEXR = pytest.importorskip("OpenEXR")

RAMP = np.linspace(1, 4, 6 * 8, dtype=np.float32).reshape(6, 8)
INF = np.float32(np.inf)


def write_exr(file: Path, *parts: dict) -> Path:
    header = {"compression": OpenEXR.ZIP_COMPRESSION, "type": OpenEXR.scanlineimage}
    made = [OpenEXR.Part({**header}, channels, name=f"part{index}") for index, channels in enumerate(parts)]
    OpenEXR.File(made).write(str(file))
    return file


def refused(file: Path) -> str:
    with pytest.raises(UsageError) as caught:
        read_depth(file)
    assert caught.value.fix and "\n" not in str(caught.value)
    return caught.value.message


@pytest.mark.parametrize("name", ["Y", "Z", "D"])
def test_our_own_exr_with_any_single_channel(tmp_path, name):
    file = tmp_path / "depth.exr"
    file.write_bytes(exr.encode(RAMP[..., None], name))
    depth = read_depth(file)
    assert depth.z.dtype == np.float32 and np.array_equal(depth.z, RAMP[None]) and depth.notes == [] and depth.K is None


def test_of_many_layers_depth_is_taken_and_not_the_z_of_normals(tmp_path):
    """As Blender 4.5 (one part) and 5.2 (several) write them."""
    picture = {f"ViewLayer.Combined.{c}": np.zeros((6, 8), np.float16) for c in "RGBA"}
    normals = {f"ViewLayer.Normal.{c}": np.ones((6, 8), np.float32) for c in "XYZ"}
    depth = {"ViewLayer.Depth.Z": RAMP}
    for parts in ([picture | normals | depth], [picture, normals, depth]):
        assert np.array_equal(read_depth(write_exr(tmp_path / "layers.exr", *parts)).z[0], RAMP)


def test_equal_red_green_and_blue_are_depth_and_a_picture_is_not(tmp_path):
    assert np.array_equal(read_depth(write_exr(tmp_path / "grey.exr", {c: RAMP for c in "RGB"})).z[0], RAMP)
    said = refused(write_exr(tmp_path / "picture.exr", {"R": RAMP, "G": RAMP + 1, "B": RAMP}))
    assert "no channel is called depth or Z" in said


def test_unknown_values_become_infinite_and_are_counted(tmp_path):
    values = RAMP.copy()
    values[0, :6] = np.inf, np.nan, 0, -2, 1e10, -np.inf
    file = tmp_path / "holes.exr"
    file.write_bytes(exr.encode(values[..., None], "Z"))
    depth = read_depth(file)
    assert (depth.z[0, 0, :6] == INF).all() and np.array_equal(depth.z[0, 1:], RAMP[1:])
    assert depth.notes == [f"12 % of {file} has no depth (holes, background or infinities) and is left out."]


def test_the_background_of_half_floats_is_unknown(tmp_path):
    half = RAMP.astype(np.float16)
    half[2, 3] = 65504
    depth = read_depth(write_exr(tmp_path / "half.exr", {"Z": half}))
    assert depth.z[0, 2, 3] == INF and depth.z[0, 0, 0] == 1 and "Less than" not in depth.notes[0]


def test_png_is_millimetres_and_0_is_unknown(tmp_path):
    values = np.full((6, 8), 2500, np.uint16)
    values[0, 0], values[5, 7] = 0, 65535
    file = tmp_path / "depth.png"
    file.write_bytes(png.encode(values))
    z = read_depth(file).z[0]
    assert z[0, 0] == INF and z[1, 1] == np.float32(2.5) and z[5, 7] == pytest.approx(65.535)


def test_numpy_files(tmp_path):
    video = np.stack([RAMP, RAMP * 2])
    np.save(tmp_path / "video.npy", video.astype(np.float64))
    np.savez(tmp_path / "take.npz", valid=RAMP > 0, depth=video)
    np.savez(tmp_path / "alone.npz", anything=RAMP[..., None])
    assert np.array_equal(read_depth(tmp_path / "video.npy").z, video)
    assert np.array_equal(read_depth(tmp_path / "take.npz").z, video)
    assert np.array_equal(read_depth(tmp_path / "alone.npz").z, RAMP[None])


def test_a_folder_is_a_video_in_the_order_of_names(tmp_path):
    for index in (2, 1, 10):
        (tmp_path / f"{index:04}.exr").write_bytes(exr.encode((RAMP * index)[..., None], "Y"))
    (tmp_path / "notes.txt").write_text("not depth")
    assert read_depth(tmp_path).z[:, 0, 0].tolist() == [1, 2, 10]
    (tmp_path / "0003.exr").write_bytes(exr.encode(RAMP[:3, :, None], "Y"))
    assert "0003.exr is 8x3 and 0001.exr 8x6" in refused(tmp_path)


def test_a_flat_depth_is_told():
    z, notes = judge(np.full((1, 2, 3), 7.0), "wall.exr")
    assert notes == ["wall.exr is 7 everywhere it is known: the picture is moved as one flat wall."] and z.dtype == np.float32


def test_what_is_no_depth_is_told(tmp_path):
    empty = tmp_path / "empty.exr"
    empty.write_bytes(exr.encode(np.zeros((6, 8, 1), np.float32), "Z"))
    assert refused(empty) == f"{empty} holds no depth: every value is 0, negative, infinite or no number."
    np.save(tmp_path / "one.npy", np.stack([RAMP, RAMP * np.nan]))
    assert refused(tmp_path / "one.npy").startswith("Frame 2 of ")
    eight = tmp_path / "eight.png"
    eight.write_bytes(png.encode(np.zeros((6, 8, 3), np.uint8)))
    assert "needs a single channel of 16" in refused(eight)
    for name, content in (("text.exr", b"hello"), ("cut.png", eight.read_bytes()[:40]), ("bad.npz", b"PK"), ("bad.npy", b"\x93NUMPY")):
        (tmp_path / name).write_bytes(content)
        assert "cannot be read as depth" in refused(tmp_path / name)
    np.save(tmp_path / "colour.npy", np.ones((2, 6, 8, 3)))
    assert "not depth [H,W]" in refused(tmp_path / "colour.npy")
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    assert "not depth [H,W]" in refused(tmp_path / "words.npy")
    np.savez(tmp_path / "many.npz", a=RAMP, b=RAMP)
    assert "none is called depth" in refused(tmp_path / "many.npz")
    assert "by its ending" in refused(Path(__file__))
    assert "There is no depth file" in refused(tmp_path / "absent.exr")
    (tmp_path / "nothing").mkdir()
    assert "holds no .exr or .png" in refused(tmp_path / "nothing")
