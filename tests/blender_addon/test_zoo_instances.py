"""Instances of every sort: each is followed by its own identity, wherever its count and order go."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from . import zoo
from .zoo import assert_follows, film, shift, shifted, still


@pytest.fixture
def scene():
    return zoo.stage()


def instancer(name: str, shown: bpy.types.Collection, location=(0, 0, 0)) -> bpy.types.Object:
    thing = zoo.empty(name, location)
    thing.instance_type, thing.instance_collection = "COLLECTION", shown
    return thing


def test_collection_instances_nested_twice(scene):
    """Two outer empties of which only one moves, each with two inner ones; the original cube moves too."""
    leaf = zoo.collection("Leaf", zoo.slide(zoo.cube("Leaf", size=0.1)))
    inner = [instancer(f"Inner {z}", leaf, (0, 0, z)) for z in (0.0, 1.0)]
    branch = zoo.collection("Branch", *inner)
    zoo.slide(instancer("Left", branch, (-4, 0, 0)))
    instancer("Right", branch, (0, 0, 0))
    found = film(scene)
    both = lambda rest, frame: rest + shift(frame) * (1 + (rest[:, :1] < -2))
    assert_follows(found, "Leaf", both)
    assert len(found.object_names) == 4 and len(found.frames[0].positions) == 32
    assert np.allclose(np.unique(found.frames[0].rest[:, 2].round(2)), (-0.05, 0.05, 0.95, 1.05))


def on_points(nodes, points, size=0.1, **more):
    cube = nodes("GeometryNodeMeshCube", Size=(size, size, size))
    return nodes("GeometryNodeInstanceOnPoints", Points=points, Instance=cube, **more)


def test_on_the_vertices_of_a_deforming_mesh(scene):
    thing = zoo.cube("Cloud", size=2)
    zoo.shape_key(thing, lambda local: local + (1.6, 0, 0))
    zoo.geometry_nodes(thing, on_points)
    found = film(scene)
    assert_follows(found, "Cloud", shifted)
    assert len(found.object_names) == 8


def test_instances_of_instances(scene):
    """Cubes on the four corners of a square, and such squares on two points; all slide with the object."""

    def nested(nodes, geometry):
        square = on_points(nodes, nodes("GeometryNodeMeshGrid", Vertices_X=2, Vertices_Y=2))
        line = nodes("GeometryNodeMeshLine", Count=2, Offset=(0, 0, 3))
        return nodes("GeometryNodeInstanceOnPoints", Points=line, Instance=square)

    zoo.geometry_nodes(zoo.slide(zoo.cube("Nest")), nested)
    found = film(scene)
    assert_follows(found, "Nest", shifted)
    assert len(found.object_names) == 8 and np.isclose(np.ptp(found.positions(0, "Nest")[:, 2]), 3.1)


def fewer_points(nodes, ids: bool):
    """Nine points in a row, of which the first one goes each frame; ``ids`` numbers them before."""
    points = nodes("GeometryNodeMeshLine", Count=9, Offset=(0.5, 0, 0))
    index = nodes("GeometryNodeInputIndex")
    if ids:
        points = nodes("GeometryNodeSetID", Geometry=points, ID=nodes.math("ADD", index, 100.0))
    first = nodes.math("LESS_THAN", index, nodes.math("SUBTRACT", nodes.frame(), 1.0))
    return on_points(nodes, nodes("GeometryNodeDeleteGeometry", Geometry=points, Selection=first))


def test_fewer_and_fewer_instances_with_an_id(scene):
    zoo.geometry_nodes(zoo.slide(zoo.cube("Row")), lambda nodes, geometry: fewer_points(nodes, ids=True))
    found = film(scene)
    assert [len(frame.positions) for frame in found.frames] == [8 * count for count in range(9, 0, -1)]
    assert_follows(found, "Row", shifted)


def test_fewer_and_fewer_instances_without_an_id_are_right_or_named(scene):
    """Blender numbers them anew in each frame: nothing says which one has gone."""
    zoo.geometry_nodes(zoo.slide(zoo.cube("Row")), lambda nodes, geometry: fewer_points(nodes, ids=False))
    found = film(scene)
    zoo.assert_follows_or_is_named(found, "Row", shifted)


def test_more_and_more_instances(scene):
    """Points that are added at the end are black, those before keep their colours."""

    def growing(nodes, geometry):
        return on_points(nodes, nodes("GeometryNodeMeshLine", Count=nodes.frame(), Offset=(0.5, 0, 0)))

    zoo.geometry_nodes(zoo.slide(zoo.cube("Row")), growing)
    found = film(scene)
    assert [len(frame.positions) for frame in found.frames] == [8 * count for count in range(1, 10)]
    assert_follows(found, "Row", shifted, share=0.0)
    assert "Row" in found.untracked


def test_instances_that_are_picked_from_a_collection(scene):
    """A cube and a ball in turn, each of which keeps its own shape and place."""
    bpy.ops.mesh.primitive_ico_sphere_add(radius=0.1, subdivisions=1)
    pieces = zoo.collection("Pieces", zoo.named("B ball"), zoo.cube("A cube", size=0.1))

    def picked(nodes, geometry):
        info = nodes("GeometryNodeCollectionInfo", Collection=pieces, Separate_Children=True, Reset_Children=True)
        return nodes("GeometryNodeInstanceOnPoints", Points=nodes("GeometryNodeMeshLine", Count=4, Offset=(1, 0, 0)), Instance=info, Pick_Instance=True)

    zoo.geometry_nodes(zoo.slide(zoo.cube("Row")), picked)
    found = film(scene)
    for name, corners in (("A cube", 8), ("B ball", 12)):
        assert_follows(found, name, shifted)
        assert len(found.positions(0, name)) == 2 * corners


def test_instances_that_are_made_real(scene):
    """Realized instances are one mesh; the topology changes when one more comes."""

    def realized(nodes, geometry):
        points = on_points(nodes, nodes("GeometryNodeMeshLine", Count=nodes.frame(), Offset=(0.5, 0, 0)))
        return nodes("GeometryNodeRealizeInstances", Geometry=points)

    zoo.geometry_nodes(zoo.slide(zoo.cube("Row")), realized)
    found = film(scene)
    zoo.assert_follows_or_is_named(found, "Row", shifted)
    assert len(found.frames[-1].positions) == 72


@pytest.mark.parametrize("kind, count", [("VERTS", 4), ("FACES", 1)])
def test_children_on_vertices_and_faces(scene, kind, count):
    bpy.ops.mesh.primitive_plane_add(size=2)
    plane = zoo.slide(zoo.named("Plane"))
    plane.instance_type, plane.show_instancer_for_render = kind, False
    zoo.cube("Child", size=0.1).parent = plane
    found = film(scene)
    assert_follows(found, "Child", shifted)
    assert found.object_names == ["Child"] * count


def emitter(scene, **settings) -> bpy.types.ParticleSettings:
    """A plane that emits cubes straight up by 0.1 a frame: a particle's frame lasts 0.04 s."""
    piece = zoo.collection("Pieces", zoo.cube("Piece", size=0.1)).objects[0]
    emits = zoo.grid("Emitter")
    emits.modifiers.new("Particles", "PARTICLE_SYSTEM")
    made = emits.particle_systems[0].settings
    made.count, made.frame_start, made.frame_end, made.lifetime = 20, -9, 5, 100
    made.render_type, made.instance_object, made.particle_size = "OBJECT", piece, 1.0
    made.normal_factor, made.effector_weights.gravity, made.physics_type = 2.5, 0.0, "NEWTON"
    for name, value in settings.items():
        setattr(made, name, value)
    return made


def test_particles_that_are_emitted_on_the_way(scene):
    """The born rise by 0.1 a frame; those born later are black and said."""
    emitter(scene)
    found = film(scene)
    assert_follows(found, "Piece", lambda rest, frame: rest + (0, 0, 0.1 * (frame - 1)), share=0.5, atol=1e-3)
    first, last = (frame.tracked & found.rows(frame, "Piece") for frame in (found.frames[0], found.frames[-1]))
    assert 8 <= first.sum() == last.sum() < found.rows(found.frames[-1], "Piece").sum()
    assert "Piece" in found.untracked


def test_particles_that_die(scene):
    emitter(scene, frame_end=1, lifetime=12)
    found = film(scene)
    assert_follows(found, "Piece", lambda rest, frame: rest + (0, 0, 0.1 * (frame - 1)), atol=1e-3)
    assert found.rows(found.frames[-1], "Piece").sum() < found.rows(found.frames[0], "Piece").sum()


def test_hair_is_named(scene):
    scalp = zoo.grid("Scalp")
    scalp.modifiers.new("Hair", "PARTICLE_SYSTEM")
    scalp.particle_systems[0].settings.type = "HAIR"
    found = film(scene)
    assert_follows(found, "Scalp", still)
    assert "hair" in found.untracked["Scalp"]
