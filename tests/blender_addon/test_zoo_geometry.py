"""Objects, deforming modifiers, curves and the like: each tracked point is where a formula, or the viewport, says."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.shared.camera import project

from . import zoo
from .zoo import assert_as_in_the_viewport, assert_follows, assert_follows_or_is_named, film, shift, shifted, still


@pytest.fixture
def scene():
    return zoo.stage()


# objects


def test_appears_vanishes_and_comes_back(scene):
    thing = zoo.slide(zoo.cube())
    zoo.cube("Late", location=(0, 2, 0))
    zoo.key(thing, "hide_render", {1: False, 4: True, 7: False})
    zoo.key(bpy.data.objects["Late"], "hide_render", {1: True, 3: False})
    found = film(scene)
    there = [found.rows(frame, "Cube").any() for frame in found.frames]
    assert there == [True] * 3 + [False] * 3 + [True] * 3
    found.frames = [frame for frame, shown in zip(found.frames, there) if shown]
    assert_follows(found, "Cube", shifted)
    last = found.frames[-1]
    assert found.rows(last, "Late").sum() == 8 and not last.tracked[found.rows(last, "Late")].any()
    assert "first frame" in found.untracked["Late"]


def turned(rest, frame):
    angle = 0.1 * (frame - 1)
    c, s = np.cos(angle), np.sin(angle)
    return rest @ np.array([[c, s, 0], [-s, c, 0], [0, 0, 1]])


def test_parents(scene):
    pivot = zoo.empty("Pivot")
    zoo.key(pivot, "rotation_euler", {frame: (0, 0, 0.1 * (frame - 1)) for frame in (1, 9)})
    arm, hand = zoo.empty("Arm", (1, 0, 0)), zoo.cube("Hand", location=(1, 0.5, 0.2))
    arm.parent, hand.parent = pivot, arm
    assert_follows(film(scene), "Hand", turned)


def test_a_constraint(scene):
    zoo.slide(zoo.empty("Target", (1, 0, 0)))
    zoo.cube().constraints.new("COPY_LOCATION").target = bpy.data.objects["Target"]
    assert_follows(film(scene), "Cube", shifted)


def test_a_driver(scene):
    zoo.cube().driver_add("location", 0).driver.expression = "(frame - 1) / 5"
    assert_follows(film(scene), "Cube", shifted)


@pytest.mark.parametrize("scale", [(-1, 1, 1), (0.2, 3, -1), (1e-3, 1e-3, 1e-3)])
def test_scales(scene, scale):
    zoo.slide(zoo.cube()).scale = scale
    found = film(scene)
    assert_follows(found, "Cube", shifted)
    assert np.allclose(np.ptp(found.positions(0, "Cube"), axis=0), np.abs(scale), rtol=1e-5)


def test_far_from_the_origin(scene):
    """At 1e5 a float32 is exact to 0.004."""
    zoo.slide(zoo.cube(location=(1e5, 1e5, 0)))
    scene.camera.location = (1e5, 1e5 - 12, 0)
    found = film(scene)
    assert_follows(found, "Cube", shifted, atol=0.02)
    pixels, _ = project(found.frames[0].positions, found.frames[0].camera)
    assert np.allclose(pixels.mean(axis=0), (48, 32), atol=0.5)


def test_a_camera_on_a_moving_object(scene):
    """What a camera rides past goes the other way on screen, at focal length over depth."""
    zoo.cube(size=0.002)
    scene.camera.parent = zoo.slide(zoo.empty("Dolly"))
    found = film(scene)
    assert_follows(found, "Cube", still)
    focal = scene.camera.data.lens / scene.camera.data.sensor_width * zoo.ZOO.width
    for frame in found.frames:
        pixels, _ = project(frame.positions, frame.camera)
        assert np.allclose(pixels.mean(axis=0), (48 - focal * shift(frame.frame)[0] / 12, 32), atol=0.01)


def test_collections_of_a_view_layer(scene):
    """Excluded: not there; indirect only (Cycles): not seen by the camera; holdout: hides and is black."""
    scene.render.engine = "CYCLES"
    for name in ("exclude", "indirect_only", "holdout", "hide_render", "plain"):
        made = zoo.collection(name, zoo.cube(f"In {name}"), into=scene.collection)
        layer = scene.view_layers[0].layer_collection.children[name]
        setattr(made if name == "hide_render" else layer, name, True) if name != "plain" else None
    found = film(scene)
    assert sorted(found.object_names) == ["In holdout", "In plain"]
    assert not found.frames[0].tracked[found.rows(found.frames[0], "In holdout")].any()


def test_linked_and_overridden(scene, tmp_path):
    zoo.slide(zoo.cube("Linked"))
    bpy.data.libraries.write(str(tmp_path / "lib.blend"), {bpy.data.objects["Linked"]})
    scene = zoo.stage()
    for override in (False, True):
        with bpy.data.libraries.load(str(tmp_path / "lib.blend"), link=True) as (_, here):
            here.objects = ["Linked"]
        thing = here.objects[0]
        if override:
            thing = thing.override_create()
            thing.name = "Override"
        scene.collection.objects.link(thing)
    override = bpy.data.objects["Override"]
    override.scale = (2, 2, 2)
    found = film(scene)
    linked = next(name for name in found.object_names if name.startswith("Linked"))
    assert_follows(found, linked, shifted)
    assert_follows(found, "Override", shifted)
    assert np.allclose(np.ptp(found.positions(0, "Override"), axis=0), 2)


# deforming


def test_shape_keys(scene):
    zoo.shape_key(zoo.cube(), lambda local: local * (1, 1, 3))
    assert_follows(film(scene), "Cube", lambda rest, frame: rest * (1, 1, 1 + 2 * (frame - 1) / 8))


def add_armature(thing) -> None:
    """One bone that turns by 0.1 a frame about z."""
    rig = bpy.data.objects.new("Rig", bpy.data.armatures.new("Rig"))
    bpy.context.scene.collection.objects.link(rig)
    bpy.context.view_layer.objects.active = rig
    bpy.ops.object.mode_set(mode="EDIT")
    rig.data.edit_bones.new("Bone").tail = (0, 0, 1)
    bpy.ops.object.mode_set(mode="OBJECT")
    bone = rig.pose.bones["Bone"]
    bone.rotation_mode = "XYZ"  # a bone's own y is along it: the armature's z
    zoo.key(bone, "rotation_euler", {frame: (0, 0.1 * (frame - 1), 0) for frame in (1, 9)})
    thing.vertex_groups.new(name="Bone").add(range(len(thing.data.vertices)), 1.0, "REPLACE")
    thing.modifiers.new("Armature", "ARMATURE").object = rig


def test_an_armature_under_a_subdivision(scene):
    thing = zoo.cube()
    add_armature(thing)
    thing.modifiers.new("Subdivision", "SUBSURF").render_levels = 2
    found = film(scene)
    assert_follows(found, "Cube", turned)
    assert len(found.positions(0, "Cube")) == 98


def test_displaced_by_a_texture(scene):
    """A linear blend from 0 at x = -1 to 1 at x = 1."""
    modifier = zoo.grid().modifiers.new("Displace", "DISPLACE")
    modifier.texture, modifier.direction, modifier.mid_level = bpy.data.textures.new("Blend", "BLEND"), "Z", 0.0
    zoo.key(modifier, "strength", {1: 0.0, 9: 1.0})
    raised = lambda rest, frame: rest + (rest[:, :1] + 1) / 2 * (frame - 1) / 8 * (0, 0, 1)
    assert_follows(film(scene), "Grid", raised)


def test_a_sine_in_geometry_nodes(scene):
    def waving(nodes, geometry):
        place = nodes("GeometryNodeInputPosition")
        x = nodes("ShaderNodeSeparateXYZ", Vector=place)
        height = nodes.math("SINE", nodes.math("ADD", x, nodes.math("MULTIPLY", nodes.frame(), 0.3)))
        return nodes("GeometryNodeSetPosition", Geometry=geometry, Offset=nodes("ShaderNodeCombineXYZ", Z=height))

    zoo.geometry_nodes(zoo.grid(), waving)
    x = lambda rest: rest[:, :1]
    risen = lambda rest, frame: rest + (np.sin(x(rest) + 0.3 * frame) - np.sin(x(rest) + 0.3)) * (0, 0, 1)
    found = film(scene)
    assert_follows(found, "Grid", risen)
    assert np.abs(found.frames[-1].positions - found.frames[-1].rest).max() > 0.5


def test_a_wave(scene):
    zoo.grid(cells=12).modifiers.new("Wave", "WAVE").time_offset = -50
    assert_as_in_the_viewport(scene, film(scene), "Grid")


@pytest.mark.parametrize(
    "kind, settings",
    [("MIRROR", {}), ("ARRAY", {"count": 3}), ("SOLIDIFY", {"thickness": 0.3}), ("SCREW", {"render_steps": 4, "steps": 4})],
)
def test_generating_modifiers_of_constant_topology(scene, kind, settings):
    thing = zoo.cube()
    zoo.shape_key(thing, lambda local: local * (1, 1, 2))
    modifier = thing.modifiers.new(kind, kind)
    for name, value in settings.items():
        setattr(modifier, name, value)
    zoo.slide(thing)
    found = film(scene)
    assert_as_in_the_viewport(scene, found, "Cube")
    assert len({frame.parts[0].topology for frame in found.frames}) == 1  # flow needs the same vertices


def test_a_bevel_follows_to_within_its_width(scene):
    """The chamfer keeps its width while the shape key stretches the cube, so that its edge wanders over the surface."""
    thing = zoo.cube()
    zoo.shape_key(thing, lambda local: local * (1, 1, 2))
    thing.modifiers.new("Bevel", "BEVEL").width = 0.1
    stretched = lambda rest, frame: rest * (1, 1, 1 + (frame - 1) / 8)
    found = film(scene)
    assert_follows(found, "Cube", stretched, atol=0.1)
    assert len({frame.parts[0].topology for frame in found.frames}) == 1


def test_an_ocean(scene):
    thing = zoo.cube("Ocean")
    ocean = thing.modifiers.new("Ocean", "OCEAN")
    ocean.resolution = ocean.viewport_resolution = 2
    zoo.key(ocean, "time", {1: 1.0, 9: 3.0})
    assert_as_in_the_viewport(scene, film(scene), "Ocean", atol=1e-4)


def test_users_of_one_mesh(scene):
    """Two copies of a mesh whose users have modifiers of their own are not mixed up."""
    one = zoo.slide(zoo.cube("One"))
    other = bpy.data.objects.new("Other", one.data)
    scene.collection.objects.link(other)
    other.location.z = 3
    other.modifiers.new("Subdivision", "SUBSURF").render_levels = 1
    found = film(scene)
    assert_follows(found, "One", shifted)
    assert_follows(found, "Other", still)
    assert (len(found.positions(0, "One")), len(found.positions(0, "Other"))) == (8, 26)


def test_a_lattice(scene):
    """A lattice whose upper points rise lifts a cube's upper face by as much."""
    lattice = bpy.data.objects.new("Lattice", bpy.data.lattices.new("Lattice"))
    scene.collection.objects.link(lattice)
    lattice.data.interpolation_type_w = "KEY_LINEAR"
    lattice.shape_key_add(name="Basis")
    block = lattice.shape_key_add(name="Up")
    for point in block.data:
        point.co.z += 1.0 if point.co.z > 0 else 0.0
    zoo.key(block, "value", {1: 0.0, 9: 1.0})
    zoo.cube().modifiers.new("Lattice", "LATTICE").object = lattice
    lifted = lambda rest, frame: rest + (rest[:, 2:] + 0.5) * (frame - 1) / 8 * (0, 0, 1)
    assert_follows(film(scene), "Cube", lifted)


# what is no mesh


def test_text_that_changes_is_named(scene):
    bpy.ops.object.text_add()
    zoo.named("Title").data.body = "A"

    def typing(scene, _=None):
        bpy.data.objects["Title"].data.body = "A" * scene.frame_current

    bpy.app.handlers.frame_change_pre.append(typing)
    try:
        found = film(scene)
    finally:
        bpy.app.handlers.frame_change_pre.remove(typing)
    assert_follows_or_is_named(found, "Title", still)
    assert len(found.positions(8, "Title")) > 5 * len(found.positions(0, "Title")) and "Title" in found.untracked


def test_a_bevelled_curve(scene):
    bpy.ops.curve.primitive_bezier_circle_add()
    zoo.slide(zoo.named("Ring")).data.bevel_depth = 0.1
    assert_follows(film(scene), "Ring", shifted)


def test_a_curve_that_grows_is_right_or_named(scene):
    bpy.ops.curve.primitive_bezier_curve_add()
    stalk = zoo.slide(zoo.named("Stalk"))
    stalk.data.bevel_depth = 0.1
    zoo.key(stalk.data, "bevel_factor_end", {1: 0.3, 9: 1.0})
    found = film(scene)
    assert_follows_or_is_named(found, "Stalk", shifted)
    assert len(found.positions(8, "Stalk")) > len(found.positions(0, "Stalk"))


@pytest.mark.parametrize("add", [bpy.ops.object.text_add, bpy.ops.surface.primitive_nurbs_surface_sphere_add, bpy.ops.object.metaball_add])
def test_text_surfaces_and_metaballs(scene, add):
    add()
    zoo.slide(zoo.named("Thing"))
    assert_follows(film(scene), "Thing", shifted)


def test_metaballs_that_melt_together_are_named(scene):
    for x in (-2.0, 1.5):
        bpy.ops.object.metaball_add(location=(x, 0, 0))
        zoo.named("Drop" if x < 0 else "Drop.001")
    zoo.slide(bpy.data.objects["Drop"])
    found = film(scene)
    assert "Drop" in found.untracked and found.rows(found.frames[-1], "Drop").any()


def test_what_has_no_surface_is_named_or_not_rendered(scene):
    zoo.cube()
    bpy.ops.object.volume_add()
    zoo.named("Smoke")
    bpy.ops.object.grease_pencil_add(type="MONKEY")
    zoo.named("Drawing")
    bpy.ops.object.light_add()
    bpy.ops.object.empty_add()
    scene.collection.objects.link(bpy.data.objects.new("Lattice", bpy.data.lattices.new("Lattice")))
    hair = bpy.data.hair_curves.new("Hair")
    hair.add_curves([3])
    scene.collection.objects.link(bpy.data.objects.new("Hair", hair))
    scene.collection.objects.link(bpy.data.objects.new("Cloud", bpy.data.pointclouds.new("Cloud")))
    found = film(scene)
    assert found.object_names == ["Cube"] and all(frame.tracked.all() for frame in found.frames)
    assert sorted(found.untracked) == ["Cloud", "Drawing", "Hair", "Smoke"]


def test_points_made_by_geometry_nodes_are_named(scene):
    zoo.geometry_nodes(zoo.cube("Dust"), lambda nodes, geometry: nodes("GeometryNodeMeshToPoints", Mesh=geometry))
    found = film(scene)
    assert not len(found.frames[0].positions) and "Dust" in found.untracked
