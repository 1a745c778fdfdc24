"""The scene's camera out into every format and in again, moves onto it, and what neither changes."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec
from bpy_extras.object_utils import world_to_camera_view
from mathutils import Vector

from diffusion_as_shader import blender_addon
from diffusion_as_shader.blender_addon import properties
from diffusion_as_shader.blender_addon.camera_import import add_moved_camera, add_path_camera
from diffusion_as_shader.blender_addon.camera_path import frames_to_key, looked_at, path_of_track, read_cameras, with_motion
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.commands import camera as command
from diffusion_as_shader.shared import cli
from diffusion_as_shader.shared.camera import Camera, Intrinsics, camera_path, project
from diffusion_as_shader.shared.camera_files import FORMATS, read_path, write_path
from diffusion_as_shader.shared.camera_motion import motion
from diffusion_as_shader.shared.errors import Cancelled, SceneError, UsageError
from diffusion_as_shader.shared.report import JsonReporter

from .scenes import REQUEST, moving_cube
from .snapshot import differences, snapshot
from .test_commands import Lines, Silent

POINTS = np.random.default_rng(1).uniform(-1.5, 1.5, (30, 3))
UNEVEN = msgspec.structs.replace(REQUEST, start=1.0, end=11.3, width=720, height=480)


@pytest.fixture
def scene():
    """A camera of which everything moves: place, turn, lens, sensor and shift."""
    scene = moving_cube()
    scene.render.resolution_x, scene.render.resolution_y, scene.render.resolution_percentage = 1280, 720, 75
    camera, data = scene.camera, scene.camera.data
    data.sensor_fit = "VERTICAL"
    for frame, turn, lens, sensor, shift in ((1, 0.0, 28, 24, 0.1), (5, 0.5, 35, 20, -0.05), (12, -0.6, 60, 30, 0.0)):
        camera.location, camera.rotation_euler = (8 * np.sin(turn), -8 * np.cos(turn), 0.3), (1.5, 0.2, turn)
        data.lens, data.sensor_height, data.shift_x, data.shift_y = lens, sensor, shift, -shift / 2
        for path in ("location", "rotation_euler"):
            camera.keyframe_insert(path, frame=frame)
        for path in ("lens", "sensor_height", "shift_x", "shift_y"):
            data.keyframe_insert(path, frame=frame)
    scene.frame_set(5)
    return scene


def read_track(scene, request=UNEVEN):
    return read_cameras(scene, request)


def largest_difference(cameras, others) -> float:
    """Of POINTS' places, in parts of the frame's width."""
    return max(np.abs(project(POINTS, a)[0] - project(POINTS, b)[0]).max() / a.intrinsics.width for a, b in zip(cameras, others, strict=True))


@pytest.mark.parametrize("fit", ["crop", "pad"])
@pytest.mark.parametrize("name", FORMATS)
def test_out_and_in_again_projects_the_same(scene, tmp_path, name, fit):
    request = msgspec.structs.replace(UNEVEN, fit=fit)
    scene.render.pixel_aspect_y = 1.0 if fit == "crop" else 1.5
    track = read_track(scene, request)
    write_path(path_of_track(track, request), tmp_path / FORMATS[name].file, name)
    camera, notes = add_path_camera(scene, read_path(tmp_path / FORMATS[name].file), fit=fit)
    again = read_track(scene, request)
    assert scene.camera == camera and set(again.names) == {camera.name} and not notes
    assert largest_difference(track.cameras, again.cameras) < 1e-5
    assert scene.render.resolution_x == 1280


def hang_on_vertices(scene):
    """The camera rides on vertices that only a render has where they are, in a collection of its own."""
    cube = next(each for each in scene.objects if each.type == "MESH")
    cube.modifiers.new("Subdivision", "SUBSURF").render_levels = 3
    cube.modifiers.new("Wave", "WAVE")
    scene.camera.parent, scene.camera.parent_type, scene.camera.parent_vertices = cube, "VERTEX_3", (0, 1, 2)
    collection = bpy.data.collections.new("Rig")
    scene.collection.children.link(collection)
    for each in (cube, scene.camera):
        scene.collection.objects.unlink(each)
        collection.objects.link(each)


def look_at_the_cube(scene):
    cube = next(each for each in scene.objects if each.type == "MESH")
    scene.camera.constraints.new("TRACK_TO").target = cube
    driver = scene.camera.data.driver_add("lens").driver
    driver.expression = "30 + frame"
    second = scene.camera.copy()
    scene.collection.objects.link(second)
    second.parent = cube
    scene.timeline_markers.new("one", frame=1).camera = scene.camera
    scene.timeline_markers.new("two", frame=6).camera = second


@pytest.mark.parametrize("rig", [None, hang_on_vertices, look_at_the_cube])
def test_it_is_the_camera_that_a_capture_has(scene, rig):
    """Though everything else is left out of the render."""
    if rig:
        rig(scene)
    track = read_track(scene)
    with capture(scene, UNEVEN) as captured:
        for mine, its in zip(track.cameras, captured.cameras, strict=True):
            assert mine.intrinsics == its.intrinsics and (mine.world_to_camera == its.world_to_camera).all()


def test_with_the_render_size_a_render_is_the_path_s_picture(scene):
    """Pixels that are not square need it, and are refused without."""
    poses = motion("trans 0 0 6; rot y 20", 9) @ read_track(scene).world_to_camera[0]
    cameras = [Camera(Intrinsics(960, 544, 800.0 + i, 1000.0 + 1.25 * i, 470.0, 280.0), pose) for i, pose in enumerate(poses)]
    path = camera_path(cameras, np.arange(1, 10), 24.0)
    with pytest.raises(UsageError, match="not square") as caught:
        add_path_camera(scene, path)
    assert "--set-render-size" in caught.value.fix
    notes = add_path_camera(scene, path, set_render_size=True)[1]
    render = scene.render
    assert (render.resolution_x, render.resolution_y, render.resolution_percentage) == (960, 544, 100)
    assert (render.pixel_aspect_x, render.pixel_aspect_y) == (1.25, 1.0) and "960x544" in notes[0]
    for index in (0, 4, 8):
        scene.frame_set(index + 1)
        seen = np.array([world_to_camera_view(scene, scene.camera, Vector(point)) for point in POINTS])[:, :2]
        expected = project(POINTS, cameras[index])[0] / (960, 544)
        assert np.abs(seen * (1, -1) + (0, 1) - expected).max() < 1e-5


def test_a_pixel_aspect_that_changes_is_refused(scene):
    cameras = [Camera(Intrinsics(96, 64, 80.0, 80.0 + i, 48.0, 32.0), np.eye(4)) for i in range(2)]
    with pytest.raises(UsageError, match="fx / fy changes"):
        add_path_camera(scene, camera_path(cameras, np.arange(2), 24.0), set_render_size=True)


def test_a_very_wide_lens(scene):
    """Shorter than Blender's shortest over 36 mm: the sensor grows instead."""
    path = camera_path([Camera(Intrinsics(720, 480, 10.0, 10.0, 360.0, 240.0), np.eye(4))], np.array([1]), 24.0)
    add_path_camera(scene, path)
    assert read_cameras(scene, UNEVEN, [1.0]).cameras[0].intrinsics.fx == pytest.approx(10, rel=1e-6)


def test_reading_changes_nothing(scene):
    scene.cursor.location.x = 3
    before = snapshot()
    read_track(scene)
    assert differences(before, snapshot()) == {}


def test_rotations_never_take_the_long_way(scene):
    """A roll through more than a full turn: each key is within half a turn of the one before."""
    poses = motion("rot z 700", 17)
    path = camera_path([Camera(Intrinsics(96, 64, 80.0, 80.0, 48.0, 32.0), pose) for pose in poses], np.arange(17), 24.0)
    camera, _ = add_path_camera(scene, path)
    keys = [curve.keyframe_points for curve in curves(camera) if curve.data_path == "rotation_quaternion"]
    values = np.array([[point.co[1] for point in points] for points in keys]).T
    assert (np.sum(values[1:] * values[:-1], axis=1) > 0).all()
    assert {point.interpolation for points in keys for point in points} == {"LINEAR"}


def curves(block):
    animation = block.animation_data
    return animation.action.layers[0].strips[0].channelbag(animation.action_slot).fcurves


def test_a_moved_camera_keeps_its_lens_and_its_own_moves(scene):
    """E'_t = P_t E_t at the sampled frames and at the whole ones between."""
    text, source = "trans 0 0 -1; rot y 20; rot z 5 2 6", scene.camera
    keyed = frames_to_key(UNEVEN)
    before = read_cameras(scene, UNEVEN, keyed)
    camera, _ = add_moved_camera(scene, with_motion(before, UNEVEN, text))
    assert scene.camera == camera != source and camera.data != source.data
    assert camera.data.animation_data.action != source.data.animation_data.action
    sampled = read_track(scene)
    expected = motion(text, 9) @ [each.world_to_camera for each, frame in zip(before.cameras, keyed) if frame in sampled.frames]
    moved = [msgspec.structs.replace(each, world_to_camera=pose) for each, pose in zip(sampled.cameras, expected, strict=True)]
    assert largest_difference(sampled.cameras, moved) < 1e-5
    assert sampled.cameras[3].intrinsics == before.cameras[list(keyed).index(sampled.frames[3])].intrinsics
    assert {2.0, 7.0, 11.0} <= set(keyed) and len(keyed) == 9 + 10


def test_a_push_in_goes_forward(scene):
    scene.camera.animation_data_clear()
    scene.camera.location, scene.camera.rotation_euler = (0, -6, 0), (np.pi / 2, 0, 0)
    camera, _ = add_moved_camera(scene, with_motion(read_track(scene), UNEVEN, "trans 0 0 -2"))
    ends = [each.centre for each in read_track(scene).cameras]
    assert np.allclose(ends[0], (0, -6, 0), atol=1e-6) and np.allclose(ends[-1], (0, -4, 0), atol=1e-5)


def test_a_cut_is_no_place_for_a_motion_and_an_import_takes_it_out(scene):
    first = scene.camera
    second = first.copy()
    scene.collection.objects.link(second)
    for name, frame, camera in (("one", 1, first), ("two", 7, second)):
        scene.timeline_markers.new(name, frame=frame).camera = camera
    track = read_track(scene)
    with pytest.raises(SceneError, match=f"changes from {first.name} to {second.name} at frame"):
        with_motion(track, UNEVEN, "rot y 10")
    camera, notes = add_path_camera(scene, path_of_track(track, UNEVEN))
    assert "one, two" in notes[0] and set(read_track(scene).names) == {camera.name}


def test_how_far_away_the_middle_of_the_view_is(scene):
    scene.camera.animation_data_clear()
    scene.camera.location, scene.camera.rotation_euler = (0, -6, 0), (np.pi / 2, 0, 0)
    scene.camera.scale = (2, 2, 2)
    cube = next(each for each in scene.objects if each.type == "MESH")
    cube.animation_data_clear()
    cube.location = (0, 0, 0)
    assert looked_at(scene, bpy.context.evaluated_depsgraph_get()) == pytest.approx(6 - 0.75)
    cube.location = (0, 0, 9)
    assert looked_at(scene, bpy.context.evaluated_depsgraph_get()) is None


def test_reading_can_be_cancelled(scene):
    done = []
    with pytest.raises(Cancelled):
        read_cameras(scene, UNEVEN, progress=lambda step, total: done.append((step, total)), cancelled=lambda: len(done) == 3)
    assert done == [(1, 9), (2, 9), (3, 9)]


# das camera


@pytest.fixture
def blend(scene, tmp_path):
    bpy.data.workspaces[0].name = "My desk"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "shot.blend"), copy=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return tmp_path / "shot.blend"


def das_camera(*words) -> list[dict]:
    told = Lines()
    args = cli.parser().parse_args(["camera", *(str(word) for word in words)])
    assert command.run(args, JsonReporter(told, Silent())) == 0
    return told


SMALL = "--size 96x64 --count 9".split()


def test_command_exports_and_imports(blend):
    result = das_camera(blend, *SMALL, "--format", "colmap")[-1]
    assert result["camera"] == str(blend.parent / "camera_colmap") and result["format"] == "colmap"
    content = blend.read_bytes()
    imported = das_camera(blend, "--import", result["camera"])[-1]
    assert imported["blend"] == str(blend.parent / "shot-camera.blend") and imported["camera"] == "Camera path"
    assert das_camera(blend, "--import", result["camera"])[-1]["blend"].endswith("shot-camera-2.blend")
    assert blend.read_bytes() == content
    with bpy.data.libraries.load(imported["blend"]) as (held, _):
        assert {"My desk"} <= set(held.workspaces) and {"Camera", "Camera path"} <= set(held.cameras)
    das_camera(imported["blend"], *SMALL, "-o", blend.parent / "again.npz")
    again, path = read_path(blend.parent / "again.npz"), read_path(blend.parent / "camera_colmap")
    assert largest_difference(*[[each.camera(index) for index in range(9)] for each in (again, path)]) < 1e-5


def test_command_moves_a_camera_or_writes_the_moved_path(blend):
    words = (*SMALL, "--motion", "rot y 30; trans 0 0 1", "--order", "reference")
    in_scene = das_camera(blend, *words, "-o", blend.parent / "moved.blend")[-1]
    written = das_camera(blend, *words, "-o", blend.parent / "moved.txt")[-1]
    assert in_scene["camera"] == "Camera motion" and written["format"] == "re10k"
    das_camera(in_scene["blend"], *SMALL, "-o", blend.parent / "read.json")
    both = [read_path(blend.parent / name) for name in ("read.json", "moved.txt")]
    assert largest_difference(*[[each.camera(index) for index in range(9)] for each in both]) < 1e-5


@pytest.mark.parametrize(
    "words, what",
    [
        (["--format", "colmp"], "'colmp' is no camera path format"),
        (["-o", "out.blend"], "cannot be written as out.blend"),
        (["--import", "path.json", "-o", "out.json"], "becomes a camera in a .blend"),
        (["--import", "nowhere.json"], "no camera path at nowhere.json"),
        (["--order", "reference"], "--order is the order of a motion"),
        (["--set-render-size"], "belongs to --import"),
        (["--motion", "rto y 10"], "Column 1 of the motion"),
        (["--motion", "rot y 10", "--format", "json", "-o", "out.blend"], "cannot be written as out.blend"),
        (["--import", "a.json", "--motion", "rot y 1"], "not allowed with"),
        (["-o", "camera.xyz"], "does not say its format"),
    ],
)
def test_wrong_words(blend, words, what):
    with pytest.raises(UsageError, match=what) as caught:
        das_camera(blend, *words)
    assert caught.value.fix


# operators


@pytest.fixture
def addon(scene):
    if hasattr(bpy.types.Scene, "das"):
        properties.unregister()
    blender_addon.register()
    properties.apply_request(scene, msgspec.structs.replace(UNEVEN, end=11))
    yield scene
    blender_addon.unregister()


@pytest.mark.parametrize("name", FORMATS)
def test_operators_export_and_import(addon, tmp_path, name):
    file, before = tmp_path / FORMATS[name].file, read_track(addon, properties.request_of(addon))
    assert bpy.ops.das.export_camera_path(filepath=str(file), format=name) == {"FINISHED"}
    assert bpy.ops.das.import_camera_path(filepath=str(file)) == {"FINISHED"}
    assert addon.camera.name == "Camera path"
    assert largest_difference(before.cameras, read_track(addon, properties.request_of(addon)).cameras) < 1e-5


def test_operators_say_what_is_wrong(addon, tmp_path):
    (tmp_path / "clip.txt").write_text("url\n1 2\n")
    with pytest.raises(RuntimeError, match="line 2 has 2 values"):
        bpy.ops.das.import_camera_path(filepath=str(tmp_path / "clip.txt"))
    with pytest.raises(RuntimeError, match="Column 5 of the motion"):
        bpy.ops.das.add_camera_motion(preset="CUSTOM", text="rot w 3")


def test_every_preset_makes_a_camera(addon):
    source = addon.camera
    for preset in bpy.ops.das.add_camera_motion.get_rna_type().properties["preset"].enum_items.keys():
        addon.camera = source
        assert bpy.ops.das.add_camera_motion(preset=preset, distance=8) == {"FINISHED"}
        assert addon.camera != source and len(curves(addon.camera)) == 7
    assert len(addon.objects) == 2 + 13


@pytest.mark.parametrize("preset, side", [("ORBIT_LEFT", -1), ("ORBIT_RIGHT", 1)])
def test_an_orbit_goes_round_what_is_at_its_distance(addon, preset, side):
    addon.camera.animation_data_clear()
    addon.camera.location, addon.camera.rotation_euler = (0, -8, 0), (np.pi / 2, 0, 0)
    bpy.ops.das.add_camera_motion(preset=preset, distance=8)
    end = read_track(addon, properties.request_of(addon)).cameras[-1]
    assert np.allclose(end.centre, (side * 4, -8 * np.sqrt(0.75), 0), atol=1e-5)  # 30 degrees round the origin
    assert np.allclose(end.world_to_camera @ (0, 0, 0, 1), (0, 0, 8, 1), atol=1e-5)  # which stays in the middle
