"""Caches on disk: Alembic, USD, MDD and PC2. What is tracked is what was written into the file."""

import struct

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from . import zoo
from .zoo import assert_follows, film, shift, shifted


@pytest.fixture
def scene():
    return zoo.stage()


def stretched(rest, frame):
    """The cube of ``stretching``: as high as its shape key says, and shifted."""
    return rest * (1, 1, 1 + (frame - 1) / 8) + shift(frame)


def stretching() -> None:
    thing = zoo.cube("Cached")
    zoo.shape_key(thing, lambda local: local * (1, 1, 2))
    zoo.slide(thing)


def reopened(path, operator) -> bpy.types.Scene:
    """A new scene with what an importer reads."""
    scene = zoo.stage()
    operator(filepath=str(path))
    scene.frame_start, scene.frame_end = 1, 9
    return scene


def test_alembic(scene, tmp_path):
    stretching()
    bpy.ops.wm.alembic_export(filepath=str(tmp_path / "a.abc"), start=1, end=9, export_custom_properties=False)
    found = film(reopened(tmp_path / "a.abc", bpy.ops.wm.alembic_import))
    assert_follows(found, "Cached", stretched, atol=1e-4)


def test_usd(scene, tmp_path):
    stretching()
    bpy.ops.wm.usd_export(filepath=str(tmp_path / "a.usdc"), export_animation=True, export_shapekeys=False)
    scene = reopened(tmp_path / "a.usdc", bpy.ops.wm.usd_import)
    name = next(thing.name for thing in scene.objects if thing.type == "MESH")
    assert_follows(film(scene), name, stretched, atol=1e-4)


def test_usd_with_shape_keys(scene, tmp_path):
    stretching()
    bpy.ops.wm.usd_export(filepath=str(tmp_path / "a.usdc"), export_animation=True, export_shapekeys=True)
    scene = reopened(tmp_path / "a.usdc", bpy.ops.wm.usd_import)
    name = next(thing.name for thing in scene.objects if thing.type == "MESH")
    assert_follows(film(scene), name, stretched, atol=1e-4)


def test_alembic_whose_topology_changes_is_right_or_named(scene, tmp_path):
    """The file holds positions and faces and no identity."""
    build = zoo.slide(zoo.grid("Cached")).modifiers.new("Build", "BUILD")
    build.frame_start, build.frame_duration = -9, 30
    bpy.ops.wm.alembic_export(filepath=str(tmp_path / "a.abc"), start=1, end=9)
    found = film(reopened(tmp_path / "a.abc", bpy.ops.wm.alembic_import))
    zoo.assert_follows_or_is_named(found, "Cached", shifted)
    assert "Cached" in found.untracked and len(found.positions(8, "Cached")) > len(found.positions(0, "Cached"))


def test_alembic_with_ids_whose_topology_changes(scene, tmp_path):
    """Vertices go one after the other; an id attribute of the file names those that stay."""
    thing = zoo.slide(zoo.grid("Cached", cells=4))
    thing.data.attributes.new("id", "INT", "POINT").data.foreach_set("value", np.arange(25, dtype=np.int32))

    def fewer(nodes, geometry):
        chosen = nodes.math("LESS_THAN", nodes("GeometryNodeInputIndex"), nodes.frame())
        return nodes("GeometryNodeDeleteGeometry", Geometry=geometry, Selection=chosen)

    zoo.geometry_nodes(thing, fewer)
    bpy.ops.wm.alembic_export(filepath=str(tmp_path / "a.abc"), start=1, end=9)
    found = film(reopened(tmp_path / "a.abc", bpy.ops.wm.alembic_import))
    zoo.assert_follows_or_is_named(found, "Cached", shifted)


def places(thing) -> np.ndarray:
    """f32 [9,V,3]: the object's own vertices, which wave up and down each at its own pace."""
    local = np.array([vertex.co for vertex in thing.data.vertices], np.float32)
    phase = np.arange(len(local))
    heights = np.sin(0.4 * np.arange(9)[:, None] + phase).astype(np.float32)
    return local + heights[..., None] * np.array((0, 0, 1), np.float32)


def write_mdd(path, frames: np.ndarray) -> None:
    count, points = frames.shape[:2]
    times = np.arange(count, dtype=">f4") / 24
    path.write_bytes(struct.pack(">2i", count, points) + times.tobytes() + frames.astype(">f4").tobytes())


def write_pc2(path, frames: np.ndarray) -> None:
    count, points = frames.shape[:2]
    path.write_bytes(struct.pack("<12siiffi", b"POINTCACHE2\0", 1, points, 1.0, 1.0, count) + frames.astype("<f4").tobytes())


@pytest.mark.parametrize("kind, write", [("MDD", write_mdd), ("PC2", write_pc2)])
def test_mesh_cache_files(scene, tmp_path, kind, write):
    thing = zoo.grid("Cached", cells=4)
    expected = places(thing)
    write(tmp_path / "cache", expected)
    cache = thing.modifiers.new("Cache", "MESH_CACHE")
    cache.cache_format, cache.filepath, cache.frame_start = kind, str(tmp_path / "cache"), 1.0
    cache.forward_axis, cache.up_axis = "POS_Y", "POS_Z"
    found = film(scene)
    for index, frame in enumerate(found.frames):
        assert np.allclose(frame.positions, expected[index], atol=1e-5) and np.allclose(frame.rest, expected[0], atol=1e-5)
        assert frame.tracked.all()
    assert np.abs(expected[4] - expected[0]).max() > 0.5
