"""Topology that changes during the shot: what is tracked is right, and what is not is black and said."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from mathutils import Matrix

from . import zoo
from .zoo import assert_follows, assert_follows_or_is_named, film, shifted, still


@pytest.fixture
def scene():
    return zoo.stage()


def test_built_faces(scene):
    """Faces that are there from the first frame are followed; later ones are right or black."""
    build = zoo.slide(zoo.grid()).modifiers.new("Build", "BUILD")
    build.frame_start, build.frame_duration = -9, 30
    found = film(scene)
    assert_follows(found, "Grid", shifted, share=0.3)
    first, last = (found.rows(frame, "Grid") & frame.tracked for frame in (found.frames[0], found.frames[-1]))
    assert last.sum() >= first.sum() and "Grid" in found.untracked


def test_a_decimation_that_grows(scene):
    bpy.ops.mesh.primitive_ico_sphere_add(subdivisions=3)
    decimate = zoo.slide(zoo.named("Ball")).modifiers.new("Decimate", "DECIMATE")
    zoo.key(decimate, "ratio", {1: 1.0, 9: 0.3})
    found = film(scene)
    assert_follows(found, "Ball", shifted, share=0.95, atol=0.1)
    assert len(found.positions(8, "Ball")) < 0.5 * len(found.positions(0, "Ball"))


def test_a_boolean_with_a_moving_cutter(scene):
    """The block stands still and its outside is tracked; the walls of the cut are right or black."""
    block, cutter = zoo.cube("Block", size=2), zoo.slide(zoo.cube("Cutter", size=0.7, location=(-1.2, -1, 0)))
    cutter.hide_render = True
    boolean = block.modifiers.new("Boolean", "BOOLEAN")
    boolean.operation, boolean.object = "DIFFERENCE", cutter
    found = film(scene)
    assert_follows(found, "Block", still, share=0.3, atol=0.035)
    for frame in found.frames:
        outside = (np.abs(frame.positions) > 0.999).sum(axis=1) == 3
        assert frame.tracked[outside].any() and len(np.unique(frame.positions[outside & frame.tracked], axis=0)) >= 4
    assert len({len(frame.positions) for frame in found.frames}) > 1


@pytest.mark.parametrize("mode", ["VOXEL", "SMOOTH"])
def test_a_remesh_is_right_or_named(scene, mode):
    thing = zoo.cube("Lump", size=2)
    zoo.shape_key(thing, lambda local: local * (1, 1, 2))
    remesh = thing.modifiers.new("Remesh", "REMESH")
    remesh.mode, remesh.voxel_size, remesh.octree_depth = mode, 0.4, 3
    stretched = lambda rest, frame: rest * (1, 1, 1 + (frame - 1) / 8)
    assert_follows_or_is_named(film(scene), "Lump", stretched, atol=0.2)


def masked(thing, axis: int, thresholds: dict) -> None:
    """A Mask that shows the vertices whose place along an axis, 0 to 1 from the one end to the other, is above a threshold."""
    local = np.array([vertex.co[axis] for vertex in thing.data.vertices])
    group = thing.vertex_groups.new(name="Along")
    for index, weight in enumerate((local - local.min()) / np.ptp(local)):
        group.add([index], float(weight), "REPLACE")
    mask = thing.modifiers.new("Mask", "MASK")
    mask.vertex_group = "Along"
    zoo.key(mask, "threshold", thresholds)


def test_a_mask_that_hides_more_and_more(scene):
    masked(zoo.slide(zoo.grid(cells=10)), 0, {1: 0.05, 9: 0.6})
    found = film(scene)
    assert_follows(found, "Grid", shifted)
    assert len(found.positions(8, "Grid")) < 0.6 * len(found.positions(0, "Grid"))


def test_a_mask_that_shows_more_and_more(scene):
    """What comes out was never seen: right or black, and what was there stays tracked."""
    masked(zoo.slide(zoo.grid(cells=10)), 0, {1: 0.6, 9: 0.05})
    found = film(scene)
    assert_follows(found, "Grid", shifted, share=0.3)
    assert "Grid" in found.untracked


def test_a_window_that_wanders_over_a_grid(scene):
    """Three rows of vertices, one row further in each frame: the same faces every time, of other vertices."""

    def windowed(nodes, geometry):
        y = nodes("ShaderNodeSeparateXYZ", out="Y", Vector=nodes("GeometryNodeInputPosition"))
        middle = nodes.math("MULTIPLY", nodes.math("SUBTRACT", nodes.frame(), 5.0), 0.2)
        away = nodes.math("GREATER_THAN", nodes.math("ABSOLUTE", nodes.math("SUBTRACT", y, middle)), 0.25)
        return nodes("GeometryNodeDeleteGeometry", Geometry=geometry, Selection=away)

    zoo.geometry_nodes(zoo.slide(zoo.grid(cells=10)), windowed)
    found = film(scene)
    assert {len(np.unique(found.positions(index, "Grid"), axis=0)) for index in range(9)} == {33}
    assert_follows_or_is_named(found, "Grid", shifted)
    assert found.frames[1].tracked.sum() >= 22


def test_ids_name_vertices_that_are_deleted(scene):
    """Geometry nodes drop vertices from the front, which renumbers the others; an id attribute says which is which."""
    thing = zoo.slide(zoo.grid(cells=8))
    thing.data.attributes.new("id", "INT", "POINT").data.foreach_set("value", np.arange(81, dtype=np.int32))

    def fewer(nodes, geometry):
        chosen = nodes.math("LESS_THAN", nodes("GeometryNodeInputIndex"), nodes.math("MULTIPLY", nodes.frame(), 3.0))
        return nodes("GeometryNodeDeleteGeometry", Geometry=geometry, Selection=chosen)

    zoo.geometry_nodes(thing, fewer)
    found = film(scene)
    assert_follows(found, "Grid", shifted)
    assert len(found.positions(8, "Grid")) <= 81 - 27


def test_an_array_that_grows_is_right_or_named(scene):
    """All its copies share their rest positions."""
    array = zoo.slide(zoo.cube("Row")).modifiers.new("Array", "ARRAY")
    zoo.key(array, "count", {1: 2, 9: 5})
    found = film(scene)
    assert_follows_or_is_named(found, "Row", shifted)
    assert len(found.positions(8, "Row")) == 40


@pytest.mark.parametrize("offset", [2, 1, 0])
def test_a_mirrored_mask_is_right_or_named(scene, offset):
    """Both halves of what a Mirror makes share their rest positions; the mask then takes faces away. Apart, joined
    with a vertex at the very origin, and one upon the other."""
    thing = zoo.slide(zoo.grid(cells=4))
    thing.data.transform(Matrix.Translation((offset, 0, 0)))
    thing.modifiers.new("Mirror", "MIRROR")
    masked(thing, 1, {1: 0.05, 9: 0.6})
    found = film(scene)
    assert_follows_or_is_named(found, "Grid", shifted)
    assert len(found.positions(8, "Grid")) < len(found.positions(0, "Grid"))


def test_a_deforming_mesh_that_is_masked(scene):
    """Rest positions are those before the shape key, first-frame positions those after it."""
    thing = zoo.grid(cells=10)
    zoo.shape_key(thing, lambda local: local * (1, 2, 1) + (0, 0, 1))
    zoo.key(thing.data.shape_keys.key_blocks[1], "value", {1: 0.4, 9: 1.0})
    masked(thing, 0, {1: 0.05, 9: 0.6})
    weight = lambda frame: 0.4 + 0.6 * (frame - 1) / 8
    stretched = lambda rest, frame: (rest * (1, (1 + weight(frame)) / (1 + weight(1)), 0)) + (0, 0, weight(frame))
    assert_follows(film(scene), "Grid", stretched)
