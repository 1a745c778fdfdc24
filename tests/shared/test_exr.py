"""OpenEXR files read back by the OpenEXR project's own reader: every float as it was."""

import numpy as np
import pytest

from diffusion_as_shader.shared import exr

OpenEXR = pytest.importorskip("OpenEXR", reason="needs the reference reader of OpenEXR files")

ODD = [np.inf, -np.inf, np.nan, -0.0, 1e-40, 3.4e38, -1.5]


def read(content, folder):
    (folder / "a.exr").write_bytes(content)
    with OpenEXR.File(str(folder / "a.exr")) as file:
        return {name: channel.pixels.copy() for name, channel in file.channels().items()}


def same(one, other):
    """Bit for bit, which also tells the two zeros apart."""
    return one.dtype == other.dtype and one.shape == other.shape and np.array_equal(one.view(np.uint32), other.view(np.uint32))


@pytest.mark.parametrize("height", [1, 16, 17, 40])
def test_colour_comes_back(tmp_path, height):
    """Smooth rows, which shrink, and noise, which does not and is stored."""
    pixels = np.random.default_rng(0).random((height, 23, 3)).astype(np.float32)
    pixels[::2] = np.linspace(0, 5, 23, dtype=np.float32)[:, None]
    pixels[0, : len(ODD), 1] = ODD
    channels = read(exr.encode(pixels, "RGB"), tmp_path)
    assert list(channels) == ["RGB"] and same(channels["RGB"], pixels)


def test_grey_comes_back(tmp_path):
    pixels = np.full((33, 8, 1), np.inf, np.float32)
    pixels[4, : len(ODD), 0] = ODD
    channels = read(exr.encode(pixels, "Y"), tmp_path)
    assert list(channels) == ["Y"] and same(channels["Y"], pixels[..., 0])


def test_blender_reads_what_we_write(tmp_path):
    bpy = pytest.importorskip("bpy", reason="needs Blender")
    pixels = np.random.default_rng(1).normal(size=(20, 30, 1)).astype(np.float32)
    pixels[3, 4] = np.inf
    (tmp_path / "a.exr").write_bytes(exr.encode(pixels, "Y"))
    image = bpy.data.images.load(str(tmp_path / "a.exr"))
    image.colorspace_settings.name = "Non-Color"
    try:
        read = np.empty(20 * 30 * image.channels, np.float32)
        image.pixels.foreach_get(read)
    finally:
        bpy.data.images.remove(image)
    assert np.array_equal(read.reshape(20, 30, -1)[::-1, :, 0], pixels[..., 0])
