"""What keeps its identity although something beside it changes: joined geometry, shared meshes, a mesh in edit mode."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from mathutils import Matrix

from diffusion_as_shader.blender_addon.scene_checks import scene_findings
from diffusion_as_shader.shared.errors import SceneError

from . import zoo
from .zoo import ZOO, assert_as_in_the_viewport, assert_follows, film, shifted


@pytest.fixture
def scene():
    return zoo.stage()


def spinning(name: str):
    """A hidden object that others take their geometry from."""
    thing = zoo.cube(name, location=(0, 0, 2))
    thing.hide_render = True
    zoo.key(thing, "rotation_euler", {1: (0, 0, 0), 9: (0, 0, 2)})
    return thing


def join(thing, other) -> None:
    def joined(nodes, geometry):
        info = nodes("GeometryNodeObjectInfo", {"transform_space": "RELATIVE"}, out="Geometry", Object=other)
        both = nodes("GeometryNodeJoinGeometry", Geometry=geometry)
        nodes.tree.links.new(info, both.node.inputs["Geometry"])
        return both

    zoo.geometry_nodes(thing, joined)


def test_joined_geometry_that_moves_is_followed(scene):
    """It has no rest positions, and nothing changes its topology."""
    join(zoo.grid(), spinning("Source"))
    found = film(scene)
    assert_as_in_the_viewport(scene, found, "Grid")
    assert len({part.topology for frame in found.frames for part in frame.parts}) == 1


def test_a_mirrored_body_that_bends_is_followed_with_joined_geometry(scene):
    thing = zoo.grid(cells=6)
    thing.data.transform(Matrix.Translation((1, 0, 0)))
    thing.modifiers.new("Mirror", "MIRROR")
    bend = thing.modifiers.new("Bend", "SIMPLE_DEFORM")
    bend.deform_method, bend.deform_axis = "BEND", "Z"
    zoo.key(bend, "angle", {1: 0.0, 9: 1.5})
    join(thing, spinning("Source"))
    found = film(scene)
    assert np.abs(found.positions(8, "Grid") - found.positions(0, "Grid")).max() > 0.1
    assert all(frame.tracked.all() and np.array_equal(frame.rest, found.frames[0].positions) for frame in found.frames)
    assert not found.untracked


@pytest.mark.parametrize("moves", [False, True])
def test_joined_geometry_where_topology_changes(scene, moves):
    """Followed where it stands still, untracked where it moves: nobody knows then which vertex is which."""
    thing, source = zoo.grid(cells=10), spinning("Source")
    if not moves:
        source.animation_data_clear()
    local = np.array([vertex.co[0] for vertex in thing.data.vertices])
    group = thing.vertex_groups.new(name="Along")
    for index, weight in enumerate((local - local.min()) / np.ptp(local)):
        group.add([index], float(weight), "REPLACE")
    mask = thing.modifiers.new("Mask", "MASK")
    mask.vertex_group = "Along"
    zoo.key(mask, "threshold", {1: 0.05, 9: 0.6})
    join(thing, source)
    last = film(scene).frames[-1]
    joined = last.positions[:, 2] > 0.5
    assert joined.sum() == 8 and last.tracked[~joined].all()
    assert last.tracked[joined].all() != moves
    assert not (moves and last.tracked[joined].any())


def test_objects_that_share_a_mesh_come_and_go_one_by_one(scene):
    first = zoo.cube("A", location=(-2, 0, 0))
    second = bpy.data.objects.new("B", first.data)
    scene.collection.objects.link(second)
    zoo.slide(second)
    zoo.key(first, "hide_render", {1: False, 4: True})
    found = film(scene)
    assert_follows(found, "B", shifted)
    assert "B" not in found.untracked and not found.rows(found.frames[-1], "A").any()


def test_a_mesh_without_vertices_is_nothing(scene):
    scene.collection.objects.link(bpy.data.objects.new("Empty mesh", bpy.data.meshes.new("Empty mesh")))
    zoo.slide(zoo.cube())
    found = film(scene)
    assert found.object_names == ["Cube"]
    assert_follows(found, "Cube", shifted)


def test_a_mesh_in_edit_mode_is_captured_as_it_is_edited(scene):
    bmesh = pytest.importorskip("bmesh")
    thing = zoo.slide(zoo.cube())
    bpy.ops.object.mode_set(mode="EDIT")
    edited = bmesh.from_edit_mesh(thing.data)
    bmesh.ops.subdivide_edges(edited, edges=edited.edges[:], cuts=1, use_grid_fill=True)
    bmesh.update_edit_mesh(thing.data)
    found = film(scene)
    assert thing.mode == "EDIT" and len(bmesh.from_edit_mesh(thing.data).verts) == 26
    bpy.ops.object.mode_set(mode="OBJECT")
    assert len(found.positions(0, "Cube")) == 26
    assert_follows(found, "Cube", shifted)


def test_a_fluid_without_a_bake_blocks(scene):
    """Simulating it would end the process."""
    zoo.cube()
    domain = zoo.cube("Domain", size=4).modifiers.new("Fluid", "FLUID")
    domain.fluid_type = "DOMAIN"
    (finding,) = scene_findings(scene, ZOO)
    assert (finding.kind, finding.severity) == ("fluid", "block") and "Domain" in finding.message
    with pytest.raises(SceneError, match="is not baked"):
        film(scene)
    domain.show_render = False
    assert not scene_findings(scene, ZOO)


def test_a_material_override_of_the_view_layer_is_what_is_seen(scene):
    thing = zoo.cube()
    zoo.material(thing, lambda tree, out: tree.links.new(tree.nodes.new("ShaderNodeBsdfTransparent").outputs[0], out.inputs[0]))
    scene.render.engine = "CYCLES"
    assert film(scene).seen(0) == ("", False)
    scene.view_layers[0].material_override = bpy.data.materials.new("Clay")
    found = film(scene)
    assert found.seen(0) == ("Cube", True) and not found.untracked
