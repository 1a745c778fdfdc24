"""What is captured is what would be rendered, vertex by vertex, and each vertex keeps its identity."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec

from diffusion_as_shader.blender_addon.capture.engine import visiting_render
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.capture.scene_guard import RenderCopy
from diffusion_as_shader.blender_addon.render_job import at_once
from diffusion_as_shader.shared.errors import SceneError

from .scenes import REQUEST, moving_cube
from .snapshot import differences, snapshot


@pytest.fixture
def scene():
    return moving_cube()


def names(captured) -> list[str]:
    return sorted(captured.object_names)


def part(captured, index: int, name: str) -> np.ndarray:
    """World positions of one instance in one frame."""
    frame = captured.frames[index]
    return frame.positions[frame.objects == captured.object_names.index(name) + 1]


def add_cube(name: str, **location) -> bpy.types.Object:
    bpy.ops.mesh.primitive_cube_add(**location)
    bpy.context.object.name = name
    return bpy.context.object


def test_positions_and_rest_follow_the_animation(scene):
    captured = capture(scene, REQUEST)
    assert captured.way == "scene copy" and captured.notes == []
    assert [frame.frame for frame in captured.frames] == pytest.approx(np.linspace(1, 12, 9))
    middles = [part(captured, index, "Cube").mean(axis=0) for index in range(9)]
    assert np.allclose(middles[0], (-0.8, 0, 0), atol=1e-6) and np.allclose(middles[-1], (0.8, 0, 0), atol=1e-6)
    for index, frame in enumerate(captured.frames):
        scene.frame_set(int(frame.frame), subframe=frame.frame % 1)
        assert np.allclose(middles[index], bpy.data.objects["Cube"].matrix_world.translation, atol=1e-5)
        assert np.array_equal(frame.rest, captured.frames[0].positions) and frame.tracked.all()
        assert frame.triangles is captured.frames[0].triangles  # read once
    assert captured.frames[0].triangles.shape == (12, 3) and captured.frames[0].positions.dtype == np.float32


def test_render_visibility_and_render_subdivision(scene):
    add_cube("Not rendered").hide_render = True
    add_cube("Not in the viewport").hide_viewport = True
    add_cube("Not for the camera").visible_camera = False
    subdivision = add_cube("Finer").modifiers.new("Subdivision", "SUBSURF")
    subdivision.levels, subdivision.render_levels = 0, 2
    captured = capture(scene, REQUEST)
    assert names(captured) == ["Cube", "Finer", "Not in the viewport"]
    assert len(part(captured, 0, "Finer")) == 98


def test_a_holdout_hides_and_is_black(scene):
    add_cube("Hole", location=(0, -2, 0)).is_holdout = True
    frame = capture(scene, REQUEST).frames[0]
    assert frame.tracked.sum() == 8 and len(frame.tracked) == 16


def test_every_mesh_like_thing_once(scene):
    bpy.ops.object.text_add()
    bpy.ops.curve.primitive_bezier_circle_add()
    bpy.context.object.data.bevel_depth = 0.1
    bpy.ops.object.metaball_add(location=(3, 0, 0))
    bpy.ops.surface.primitive_nurbs_surface_sphere_add()
    bpy.ops.object.empty_add()
    bpy.ops.mesh.primitive_plane_add()
    plane = bpy.context.object
    plane.instance_type, plane.show_instancer_for_render = "VERTS", False
    add_cube("Child").parent = plane
    captured = capture(scene, REQUEST)
    assert names(captured) == sorted(["Cube", "Text", "BézierCircle", "Mball", "SurfSphere", *["Child"] * 4])
    assert captured.frames[-1].tracked.all()


def test_instances_of_a_hidden_collection_move_on_their_own(scene):
    original = add_cube("Original")
    hidden = bpy.data.collections.new("Hidden")
    hidden.objects.link(original)
    scene.collection.objects.unlink(original)
    for index in range(3):
        empty = bpy.data.objects.new(f"Instancer {index}", None)
        empty.instance_type, empty.instance_collection, empty.location.x = "COLLECTION", hidden, 10.0 * index
        empty.keyframe_insert("location", frame=1)
        empty.location.z = index
        empty.keyframe_insert("location", frame=12)
        scene.collection.objects.link(empty)
    captured = capture(scene, REQUEST)
    assert names(captured) == ["Cube", "Original", "Original", "Original"]
    last = captured.frames[-1]
    moved = last.positions - last.rest
    for number in np.unique(last.objects[last.rest[:, 0] > -0.5])[1:]:
        mine = last.objects == number
        across = last.rest[mine].mean(axis=0)[0]
        assert np.allclose(moved[mine], (0, 0, round(across / 10)), atol=1e-5)


def geometry_nodes(thing, build) -> None:
    """Give an object a node tree: ``build(tree, input geometry) -> output geometry``."""
    tree = bpy.data.node_groups.new("Nodes", "GeometryNodeTree")
    for way in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=way, socket_type="NodeSocketGeometry")
    source, sink = tree.nodes.new("NodeGroupInput"), tree.nodes.new("NodeGroupOutput")
    tree.links.new(build(tree, source.outputs[0]), sink.inputs[0])
    thing.modifiers.new("Nodes", "NODES").node_group = tree


def test_geometry_nodes_instances(scene):
    def cubes_on_vertices(tree, geometry):
        points = tree.nodes.new("GeometryNodeInstanceOnPoints")
        cube = tree.nodes.new("GeometryNodeMeshCube")
        cube.inputs["Size"].default_value = (0.1, 0.1, 0.1)
        tree.links.new(geometry, points.inputs["Points"])
        tree.links.new(cube.outputs["Mesh"], points.inputs["Instance"])
        return points.outputs["Instances"]

    geometry_nodes(bpy.data.objects["Cube"], cubes_on_vertices)
    captured = capture(scene, REQUEST)
    assert len(captured.object_names) == 8 and len(captured.frames[0].positions) == 64
    last = captured.frames[-1]
    assert last.tracked.all() and np.allclose(last.positions - last.rest, (1.6, 0, 0), atol=1e-5)


def reshaped(thing, kind: str, **keys) -> bpy.types.Modifier:
    """A modifier with properties that change over frames 1 to 12: ``name=(first, last)``."""
    modifier = thing.modifiers.new(kind, kind)
    for name, values in keys.items():
        for frame, value in zip((1, 12), values):
            setattr(modifier, name, value)
            modifier.keyframe_insert(name, frame=frame)
    return modifier


def test_a_decimated_surface_is_followed_by_its_rest_position(scene):
    """Thinned vertex by vertex while it moves: each point left over lies where the whole sphere had it."""
    bpy.ops.mesh.primitive_uv_sphere_add(segments=16, ring_count=10, location=(0, -1, 0))
    sphere = bpy.context.object
    for frame, x in ((1, 0.0), (12, 2.0)):
        sphere.location.x = x
        sphere.keyframe_insert("location", frame=frame)
    reshaped(sphere, "DECIMATE", ratio=(1.0, 0.4))
    captured = capture(scene, REQUEST)
    mine = [frame.objects == captured.object_names.index("Sphere") + 1 for frame in (captured.frames[0], captured.frames[-1])]
    last = captured.frames[-1]
    assert mine[1].sum() < mine[0].sum() / 2 and last.tracked[mine[1]].all() and captured.untracked == []
    moved = last.positions[mine[1]] - last.rest[mine[1]]
    assert np.abs(moved - (2, 0, 0)).max() < 0.06  # what thinning itself moves a vertex off the sphere
    assert not sphere.add_rest_position_attribute


def test_a_boolean_cut_shows_surface_that_was_not_there(scene):
    bpy.ops.mesh.primitive_uv_sphere_add(location=(0, -1, 0))
    sphere = bpy.context.object
    cutter = add_cube("Cutter", size=1.0, location=(0.6, -3.0, 0))
    cutter.hide_render = True
    for frame, y in ((1, -3.0), (12, -1.9)):
        cutter.location.y = y
        cutter.keyframe_insert("location", frame=frame)
    sphere.modifiers.new("Cut", "BOOLEAN").object = cutter
    captured = capture(scene, REQUEST)
    last = captured.frames[-1]
    mine = last.objects == captured.object_names.index("Sphere") + 1
    followed = mine & last.tracked
    assert 0.8 < followed.sum() / mine.sum() < 1
    assert np.abs(last.positions - last.rest)[followed].max() < 0.06  # the sphere stands still
    whole = last.tracked[last.triangles].all(axis=1) & mine[last.triangles].all(axis=1)
    middles = last.positions[last.triangles[mine[last.triangles].all(axis=1) & ~whole]].mean(axis=1)
    inside = (np.abs(middles - (0.6, -1.9, 0)) < 0.55).all(axis=1)
    assert len(middles) > 4 and inside.mean() > 0.6  # black is the cut and what touches it


def test_remeshing_is_black_and_said(scene):
    reshaped(add_cube("Remade"), "REMESH", voxel_size=(0.5, 0.3)).mode = "VOXEL"
    captured = capture(scene, REQUEST)
    last = captured.frames[-1]
    remade = last.objects == captured.object_names.index("Remade") + 1
    assert not last.tracked[remade].any() and last.tracked[~remade].all()
    assert [each.name for each in captured.untracked] == ["Remade"] and "Remade" in captured.notes[-1]


def test_a_mirror_that_grows_is_not_mixed_up(scene):
    """Both halves have one rest position: neither can be told from the other."""
    thing = add_cube("Halves", location=(0, 0, 3))
    thing.modifiers.new("Mirror", "MIRROR").use_mirror_merge = False
    reshaped(thing, "BEVEL", width=(0.0, 0.2))
    captured = capture(scene, REQUEST)
    assert any(each.name == "Halves" and "share" in each.reason for each in captured.untracked)


def test_stable_ids_name_vertices(scene):
    """A mesh that loses the faces below a rising height; what is left keeps its ids."""

    def shrinking(tree, geometry):
        ids, index = tree.nodes.new("GeometryNodeSetID"), tree.nodes.new("GeometryNodeInputIndex")
        delete, position = tree.nodes.new("GeometryNodeDeleteGeometry"), tree.nodes.new("GeometryNodeInputPosition")
        split, time = tree.nodes.new("ShaderNodeSeparateXYZ"), tree.nodes.new("GeometryNodeInputSceneTime")
        height, below = tree.nodes.new("ShaderNodeMath"), tree.nodes.new("ShaderNodeMath")
        height.operation, height.inputs[1].default_value, height.inputs[2].default_value = "MULTIPLY_ADD", 0.1, -1.15
        below.operation = "LESS_THAN"
        for source, target in (
            (geometry, ids.inputs["Geometry"]),
            (index.outputs[0], ids.inputs["ID"]),
            (ids.outputs[0], delete.inputs["Geometry"]),
            (position.outputs[0], split.inputs[0]),
            (time.outputs["Frame"], height.inputs[0]),
            (split.outputs["Z"], below.inputs[0]),
            (height.outputs[0], below.inputs[1]),
            (below.outputs[0], delete.inputs["Selection"]),
        ):
            tree.links.new(source, target)
        return delete.outputs[0]

    bpy.ops.mesh.primitive_uv_sphere_add(segments=12, ring_count=9)
    sphere = bpy.context.object
    sphere.name = "Vanishing"
    for frame, x in ((1, 0.0), (12, 1.0)):
        sphere.location.x = x
        sphere.keyframe_insert("location", frame=frame)
    geometry_nodes(sphere, shrinking)
    captured = capture(scene, REQUEST)
    last, count = captured.frames[-1], [len(part(captured, index, "Vanishing")) for index in (0, 8)]
    mine = last.objects == captured.object_names.index("Vanishing") + 1
    assert count[1] < 0.7 * count[0] and last.tracked[mine].all() and captured.untracked == []
    assert np.allclose(last.positions[mine] - last.rest[mine], (1, 0, 0), atol=1e-5)


def test_the_same_counts_but_other_faces_are_another_topology(scene):
    """Two meshes of 5 vertices, 7 edges and 3 faces each, switched on the way."""
    thing = bpy.data.objects["Cube"]
    points = [(0, 0, 0), (1, 0, 0), (1, 0, 1), (0, 0, 1), (0.5, 0, 2)]
    fans = ([(0, 1, 2), (0, 2, 3), (3, 2, 4)], [(0, 1, 3), (1, 2, 3), (3, 2, 4)])
    for name, faces in zip("AB", fans):
        other = bpy.data.objects.new(name, bpy.data.meshes.new(name))
        other.data.from_pydata(points, [], faces)
        other.hide_render = True
        scene.collection.objects.link(other)

    def switched(tree, geometry):
        switch, time = tree.nodes.new("GeometryNodeSwitch"), tree.nodes.new("GeometryNodeInputSceneTime")
        later = tree.nodes.new("ShaderNodeMath")
        switch.input_type = "GEOMETRY"
        later.operation, later.inputs[1].default_value = "GREATER_THAN", 6.0
        tree.links.new(time.outputs["Frame"], later.inputs[0])
        tree.links.new(later.outputs[0], switch.inputs["Switch"])
        sockets = [socket for socket in switch.inputs if socket.type == "GEOMETRY" and socket.enabled]
        for name, socket in zip("AB", sockets, strict=True):
            info = tree.nodes.new("GeometryNodeObjectInfo")
            info.inputs["Object"].default_value = bpy.data.objects[name]
            tree.links.new(info.outputs["Geometry"], socket)
        return switch.outputs["Output"]

    geometry_nodes(thing, switched)
    captured = capture(scene, REQUEST)
    assert captured.frames[0].tracked.all() and not captured.frames[-1].tracked.any()
    assert len(captured.frames[0].positions) == len(captured.frames[-1].positions) == 5
    assert not np.array_equal(captured.frames[0].triangles, captured.frames[-1].triangles)


def test_what_appears_later_hides_but_is_black(scene):
    late = add_cube("Late", location=(0, -1, 0))
    for frame, hidden in ((1, True), (6, False)):
        late.hide_render = hidden
        late.keyframe_insert("hide_render", frame=frame)
    captured = capture(scene, REQUEST)
    assert len(captured.frames[0].positions) == 8
    last = captured.frames[-1]
    assert len(last.positions) == 16 and last.tracked.sum() == 8


def test_one_view_layer_and_the_note_that_says_so(scene):
    other = bpy.data.collections.new("Only in the second")
    scene.collection.children.link(other)
    other.objects.link(bpy.data.objects.new("Second", bpy.data.meshes["Cube"]))
    scene.view_layers[0].layer_collection.children[other.name].exclude = True
    scene.view_layers.new("Second layer")
    captured = capture(scene, REQUEST)
    assert names(captured) == ["Cube"] and "Second layer" in captured.notes[0]


def test_no_view_layer_is_used(scene):
    scene.view_layers[0].use = False
    with pytest.raises(SceneError, match="No view layer"):
        capture(scene, REQUEST)


def test_a_capture_within_a_capture_is_refused(scene):
    """Blender renders one thing at a time."""
    refused = []

    def again(engine, depsgraph):
        with pytest.raises(SceneError, match="already running") as caught:
            capture(scene, REQUEST)
        refused.append(caught.value)

    with RenderCopy(scene) as copy:
        at_once(visiting_render(copy, again))
    assert refused[0].fix


def test_an_engine_that_was_not_called_is_an_error(scene):
    with RenderCopy(scene) as copy:
        copy.scene.sequence_editor_create()
        length = {"length": 12} if bpy.app.version >= (5, 0) else {"frame_end": 12}
        copy.scene.sequence_editor.strips.new_effect(name="s", type="COLOR", channel=1, frame_start=1, **length)
        copy.scene.render.use_sequencer = True
        with pytest.raises(SceneError, match="without calling"):
            at_once(visiting_render(copy, lambda engine, depsgraph: None))


def test_progress_counts_frames(scene):
    told = []
    capture(scene, REQUEST, progress=lambda done, total: told.append((done, total)))
    assert told == [(index, 9) for index in range(1, 10)]


# physics


def add_cloth() -> bpy.types.Object:
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=6, y_subdivisions=6, location=(0, 0, 3))
    bpy.context.object.name = "Cloth"
    bpy.context.object.modifiers.new("Cloth", "CLOTH")
    return bpy.context.object


def add_soft_body() -> bpy.types.Object:
    bpy.ops.mesh.primitive_grid_add(x_subdivisions=5, y_subdivisions=5, location=(4, 0, 2))
    bpy.context.object.name = "Soft"
    bpy.context.object.modifiers.new("Soft", "SOFT_BODY").settings.use_goal = False
    return bpy.context.object


def add_simulation_zone() -> bpy.types.Object:
    """A cube that its simulation lets sink by 0.1 every frame."""

    def sinking(tree, geometry):
        begin, end = tree.nodes.new("GeometryNodeSimulationInput"), tree.nodes.new("GeometryNodeSimulationOutput")
        begin.pair_with_output(end)
        move = tree.nodes.new("GeometryNodeTransform")
        move.inputs["Translation"].default_value = (0, 0, -0.1)
        tree.links.new(geometry, begin.inputs["Geometry"])
        tree.links.new(begin.outputs["Geometry"], move.inputs["Geometry"])
        tree.links.new(move.outputs["Geometry"], end.inputs["Geometry"])
        return end.outputs["Geometry"]

    thing = add_cube("Sinking", location=(4, 0, 2))
    geometry_nodes(thing, sinking)
    return thing


def played(scene, thing, frame: int) -> float:
    """The mean height that playing the scene from frame 1 gives, in Blender's own viewport."""
    for step in range(1, frame + 1):
        scene.frame_set(step)
    evaluated = thing.evaluated_get(bpy.context.evaluated_depsgraph_get())
    return float(np.mean([(evaluated.matrix_world @ vertex.co).z for vertex in evaluated.data.vertices]))


@pytest.mark.parametrize("add, way", [(add_cloth, "scene copy"), (add_soft_body, "in place"), (add_simulation_zone, "in place")])
def test_physics_without_a_bake_is_stepped_from_its_beginning(scene, add, way):
    """A range that begins late and jumps frames still shows the simulation as playing it does."""
    thing = add()
    scene.frame_set(3)
    captured = capture(scene, msgspec.structs.replace(REQUEST, start=6, end=22))
    assert captured.way == way and thing.name in captured.notes[0] and scene.frame_current == 3
    heights = [part(captured, index, thing.name)[:, 2].mean() for index in (0, 4, 8)]
    assert np.allclose(heights, [played(scene, thing, frame) for frame in (6, 14, 22)], atol=2e-3)
    assert heights[-1] < heights[0] - 0.5


def test_playing_in_place_keeps_what_is_not_keyed(scene):
    add_soft_body()
    scene.frame_set(1)  # where the simulation has not begun, so that only its cache is new
    cube = bpy.data.objects["Cube"]
    cube.location = (5.0, 6.0, 7.0)
    cube["custom"] = 1.0
    cube.keyframe_insert('["custom"]', frame=1)
    before = snapshot()
    capture(scene, REQUEST)
    changed = differences(before, snapshot())
    assert tuple(cube.location) == (5.0, 6.0, 7.0)
    assert all("point_cache" in path for path in changed), changed


def test_unbaked_rigid_bodies_are_refused(scene):
    bpy.context.view_layer.objects.active = bpy.data.objects["Cube"]
    bpy.ops.rigidbody.object_add()
    with pytest.raises(SceneError, match="not baked") as caught:
        capture(scene, REQUEST)
    assert "Bake" in caught.value.fix


def test_baked_rigid_bodies_are_captured(scene):
    cube = add_cube("Falling", location=(0, 0, 8))
    bpy.ops.rigidbody.object_add()
    with bpy.context.temp_override(point_cache=scene.rigidbody_world.point_cache):
        bpy.ops.ptcache.bake(bake=True)
    heights = [part(captured := capture(scene, REQUEST), 0, cube.name)[:, 2].mean(), part(captured, 8, cube.name)[:, 2].mean()]
    assert heights[1] < heights[0] - 0.5


def test_what_the_file_lacks_is_said(tmp_path):
    """A library that is gone, and a driver whose Python is not allowed to run."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "lib.blend"))
    scene = moving_cube()
    with bpy.data.libraries.load(str(tmp_path / "lib.blend"), link=True) as (there, here):
        here.objects = there.objects
    scene.collection.objects.link(here.objects[0])
    driver = bpy.data.objects["Cube"].driver_add("scale", 0).driver
    driver.expression = "__import__('math').cos(frame)"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    (tmp_path / "lib.blend").unlink()
    bpy.ops.wm.open_mainfile(filepath=str(tmp_path / "scene.blend"), use_scripts=False)
    notes = " ".join(capture(bpy.context.scene, REQUEST).notes)
    assert "lib.blend is missing" in notes and "was not run" in notes
