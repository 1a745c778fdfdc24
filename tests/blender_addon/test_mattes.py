"""Mattes against the object numbers and the Cryptomatte that Cycles renders, read by the OpenEXR project's reader."""

import json
import struct

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")
OpenEXR = pytest.importorskip("OpenEXR", reason="needs the reference reader of OpenEXR files")

from diffusion_as_shader.blender_addon.jobs import Job  # noqa: E402

from . import analytic_scene as truth  # noqa: E402
from .drawing import near_edges  # noqa: E402
from .readers import read_exr, read_png16  # noqa: E402

REQUEST = msgspec.structs.replace(truth.REQUEST, write=("mattes", "depth"))
INDEX = 4  # a whole frame


def crowd() -> bpy.types.Scene:
    """The boards, and a monkey, a bent tube and text before them."""
    scene = truth.build()
    bpy.ops.mesh.primitive_monkey_add(size=1, location=(-0.6, -1.5, 0.6))
    bpy.ops.curve.primitive_bezier_curve_add(location=(0.3, -2.5, -0.5))
    bpy.context.object.data.bevel_depth = 0.15
    bpy.ops.object.text_add(location=(-1.2, -2.2, -1), rotation=(np.pi / 2, 0, 0))
    return scene


def render_passes(scene, folder) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Channels by name, without the layer's, of one sample a pixel at its centre; the hash of each object's name."""
    for number, thing in enumerate(scene.objects, start=1):
        thing.pass_index = number
    layer = scene.view_layers[0]
    layer.use_pass_object_index = layer.use_pass_cryptomatte_object = True
    scene.render.engine = "CYCLES"
    scene.cycles.samples, scene.cycles.pixel_filter_type = 1, "BOX"
    scene.cycles.filter_width = 0.01
    settings = scene.render.image_settings
    if hasattr(settings, "media_type"):
        settings.media_type = "MULTI_LAYER_IMAGE"
    settings.file_format, settings.color_depth = "OPEN_EXR_MULTILAYER", "32"
    scene.render.filepath = str(folder / "passes.exr")
    scene.frame_set(int(truth.TIMES[INDEX]))
    bpy.ops.render.render(write_still=True)
    channels, manifests = {}, []
    with OpenEXR.File(scene.render.filepath, separate_channels=True) as file:
        for part in file.parts:  # 4.5 writes one, 5.0 and later one a pass
            channels.update({name.partition(".")[2]: channel.pixels.copy() for name, channel in part.channels.items()})
            manifests += [value for name, value in part.header.items() if name.startswith("cryptomatte/") and name.endswith("manifest")]
    return channels, json.loads(manifests[0])


def test_mattes_are_the_objects_that_cycles_renders(tmp_path):
    scene = crowd()
    take = Job(scene, REQUEST, tmp_path / "take", "track").run()
    names = {int(number): name for number, name in json.loads((take.folder / "mattes/objects.json").read_text()).items()}
    ours = read_png16(take.folder / f"mattes/{INDEX + 1:04d}.png")
    inner = ~near_edges(read_exr(take.folder / f"depth/{INDEX + 1:04d}.exr"), ours)
    channels, manifest = render_passes(scene, tmp_path)
    (index_pass,) = [pixels for name, pixels in channels.items() if name.startswith(("IndexOB", "Object Index"))]
    by_index = {0: "", **{thing.pass_index: thing.name for thing in scene.objects}}
    by_hash = {struct.unpack("<f", struct.pack("<I", int(code, 16)))[0]: name for name, code in manifest.items()}
    (crypto,) = [pixels for name, pixels in channels.items() if name.lower() == "cryptoobject00.r"]
    seen = np.vectorize(lambda number: names.get(number, ""))(ours)
    assert set(seen[inner].ravel()) == {thing.name for thing in scene.objects} - {"camera"}
    assert (seen == np.vectorize(lambda number: by_index[int(number)])(index_pass))[inner].all()
    assert (seen == np.vectorize(lambda code: by_hash.get(np.float32(code).item(), ""))(crypto))[inner].all()
