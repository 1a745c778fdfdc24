"""The example scene holds what the demo is to show, in every supported Blender."""

import pytest

bpy = pytest.importorskip("bpy")

import numpy as np  # noqa: E402

from diffusion_as_shader.blender_addon.example_scene import END, START, build_example_scene  # noqa: E402


@pytest.fixture(scope="module")
def scene():
    bpy.ops.wm.read_factory_settings(use_empty=True)
    yield build_example_scene()
    bpy.ops.wm.read_factory_settings(use_empty=True)


def world_vertices(name, frame):
    """Evaluated world positions [V,3] of an object at a frame."""
    scene = bpy.context.scene
    scene.frame_set(frame)
    depsgraph = bpy.context.evaluated_depsgraph_get()
    evaluated = scene.objects[name].evaluated_get(depsgraph)
    mesh = evaluated.to_mesh()
    local = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", local)
    evaluated.to_mesh_clear()
    matrix = np.array(evaluated.matrix_world)
    return local.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]


def test_it_has_a_camera_a_range_and_a_wider_aspect_than_the_engine(scene):
    assert scene.camera is not None
    assert (scene.frame_start, scene.frame_end, scene.render.fps) == (START, END, 24) == (1, 49, 24)
    assert scene.render.resolution_x / scene.render.resolution_y > 720 / 480


def test_the_figure_bends_and_walks(scene):
    first, later = world_vertices("Figure", START), world_vertices("Figure", START + 6)
    assert first.shape == later.shape and len(first) > 500
    moved = later - first
    assert np.linalg.norm(moved.mean(axis=0)) > 0.2
    assert np.linalg.norm(moved - moved.mean(axis=0), axis=1).max() > 0.2
    assert first[:, 2].min() > -0.1


def test_the_ball_passes_in_front_of_the_figure(scene):
    from bpy_extras.object_utils import world_to_camera_view

    def across(frame):
        scene.frame_set(frame)
        points = [scene.objects[name].matrix_world.translation for name in ("Ball", "Walker")]
        return [world_to_camera_view(scene, scene.camera, point) for point in points]

    gaps = []
    for frame in range(START, END + 1, 4):
        ball, walker = across(frame)
        assert ball.z < walker.z
        gaps.append(ball.x - walker.x)
    assert min(gaps) < 0 < max(gaps)


def test_the_camera_moves_and_instances_and_text_are_there(scene):
    scene.frame_set(START)
    start = scene.camera.matrix_world.copy()
    scene.frame_set(END)
    assert (scene.camera.matrix_world.translation - start.translation).length > 1
    assert sum(thing.instance_type == "COLLECTION" for thing in scene.objects) > 5
    assert any(thing.type == "FONT" for thing in scene.objects)


def test_its_pictures_travel_in_the_file(scene, tmp_path):
    file = tmp_path / "example.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(file), copy=True)
    with bpy.data.libraries.load(str(file)) as (stored, _):
        assert {"Figure", "Paving", "Bricks", "Ball"} <= set(stored.images)
    assert all(image.packed_file for image in bpy.data.images if image.users and image.type == "IMAGE")
