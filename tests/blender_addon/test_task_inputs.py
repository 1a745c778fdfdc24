"""What a task starts from: the scene's picture with its exact depth, its camera, an object's matte and an empty's motion."""

import math

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon.camera_path import read_cameras
from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer
from diffusion_as_shader.blender_addon.capture.first_frame import first_frame
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.capture.signals import draw_signals
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.render_job import at_once
from diffusion_as_shader.blender_addon.task_inputs import TaskInputs
from diffusion_as_shader.shared.camera import blender_to_opencv, camera_path
from diffusion_as_shader.shared.camera_files import write_path
from diffusion_as_shader.shared.camera_motion import motion
from diffusion_as_shader.shared.errors import DasError, SceneError, UsageError
from diffusion_as_shader.shared.request import CameraControl, DepthSettings, FirstFrame, MotionTransfer, ObjectManipulation
from diffusion_as_shader.shared.task_signals import check_inputs
from diffusion_as_shader.shared.track_files import Tracks, encode_tracks

from .scenes import REQUEST, moving_cube
from .snapshot import snapshot

IMAGES = BlenderImages()
CAMERA = msgspec.structs.replace(REQUEST, task="camera_control")
OBJECT = msgspec.structs.replace(REQUEST, task="object_manipulation", object=ObjectManipulation(object="Cube", motion="left"))


@pytest.fixture
def scene():
    """The moving cube, a floor below it, an empty, and a camera that moves sideways and zooms."""
    scene = moving_cube()
    bpy.ops.mesh.primitive_plane_add(size=20, location=(0, 0, -1.5))
    bpy.ops.object.empty_add(location=(0.5, 1, 0.2))
    scene.collection.objects["Empty"].name = "guide"
    for frame, x, lens in ((1, -0.5, 45.0), (12, 0.5, 60.0)):
        scene.camera.location.x, scene.camera.data.lens = x, lens
        scene.camera.keyframe_insert("location", frame=frame)
        scene.camera.data.keyframe_insert("lens", frame=frame)
    scene.frame_set(5)
    return scene


def collected(scene, request) -> dict[str, np.ndarray]:
    inputs = at_once(TaskInputs(scene, request).collecting()).arrays
    check_inputs(request, inputs)
    return inputs


def drawn_first(scene, request):
    with capture(scene, request) as captured:
        return next(draw_signals(captured, request, NumpyDrawer()))[1], captured.cameras, captured.object_names


@pytest.mark.parametrize("fit", ["crop", "pad"])
def test_the_scenes_picture_has_its_exact_depth_and_camera(scene, fit):
    request = msgspec.structs.replace(CAMERA, fit=fit)
    before = snapshot()
    inputs = collected(scene, request)
    assert snapshot() == before
    frame, cameras, _ = drawn_first(scene, request)
    seen = np.isfinite(frame.depth)
    assert set(inputs) == {"source", "source_depth", "source_K", "world_to_camera", "K"} and 0.2 < seen.mean() < 1
    assert np.array_equal(seen, np.isfinite(inputs["source_depth"][0]))
    assert np.allclose(inputs["source_depth"][0][seen], frame.depth[seen], rtol=1e-5)
    assert np.array_equal(inputs["source"][0], first_frame(scene, request, IMAGES))
    assert np.allclose(inputs["world_to_camera"], [camera.world_to_camera for camera in cameras])
    assert np.allclose(inputs["K"], [camera.intrinsics.matrix for camera in cameras]) and np.ptp(inputs["K"][:, 0, 0]) > 10
    assert np.array_equal(inputs["source_K"][0], inputs["K"][0])


def test_a_motion_in_words_and_a_path_file(scene, tmp_path):
    told = msgspec.structs.replace(CAMERA, camera=CameraControl(motion="trans 1 0 0; rot y 20 2 5", order="reference"))
    assert np.array_equal(collected(scene, told)["world_to_camera"], motion("trans 1 0 0; rot y 20 2 5", 9, "reference"))
    track = read_cameras(scene, REQUEST)
    write_path(camera_path(track.cameras, track.frames, 24), tmp_path / "path.json")
    filed = msgspec.structs.replace(CAMERA, camera=CameraControl(path=str(tmp_path / "path.json")))
    assert np.allclose(collected(scene, filed)["world_to_camera"], track.world_to_camera)
    with pytest.raises(UsageError, match="has 9 frames, the video has 17"):
        collected(scene, msgspec.structs.replace(filed, frames=17))
    with pytest.raises(UsageError, match="Column 9"):
        collected(scene, msgspec.structs.replace(told, camera=CameraControl(motion="trans 1 x 0")))


def test_an_image_is_fitted_and_the_scenes_path_scaled_by_its_depth(scene, tmp_path):
    wide = np.zeros((40, 100, 3), np.uint8)
    wide[:, 18:82] = 200  # 60 columns of it are in the window
    wide[:, 30:70, 0] = 90
    IMAGES.write(tmp_path / "wide.png", wide)
    inputs = collected(scene, msgspec.structs.replace(CAMERA, source=str(tmp_path / "wide.png")))
    frame, cameras, _ = drawn_first(scene, CAMERA)
    assert set(inputs) == {"source", "world_to_camera", "K", "scene_depth"}
    assert inputs["scene_depth"][0] == pytest.approx(np.median(frame.depth[np.isfinite(frame.depth)]), rel=1e-4)
    assert (inputs["source"][0, :, :, 1] == 200).all(), "cropped, not squeezed"
    across = inputs["source"][0, 32, :, 0] < 145
    assert across.sum() == 64 and across[16:80].all(), "40 of 40 rows become 64, so 40 columns do"
    assert "scene_depth" not in collected(
        scene, msgspec.structs.replace(CAMERA, source=str(tmp_path / "wide.png"), camera=CameraControl(motion="rot y 5"))
    )


def test_a_paintover_keeps_the_scenes_depth(scene, tmp_path):
    painted = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    IMAGES.write(tmp_path / "painted.png", painted)
    brought = FirstFrame(source="file", path=str(tmp_path / "painted.png"))
    inputs = collected(scene, msgspec.structs.replace(CAMERA, first_frame=brought))
    assert np.array_equal(inputs["source"][0], painted) and "source_depth" in inputs
    estimated = collected(scene, msgspec.structs.replace(CAMERA, depth=DepthSettings(source="moge")))
    assert "source_depth" not in estimated and {"scene_depth", "source_K"} < set(estimated)


def test_the_matte_of_an_object_its_children_and_instances(scene):
    frame, _, names = drawn_first(scene, OBJECT)
    wanted = frame.object == names.index("Cube") + 1
    assert np.array_equal(collected(scene, OBJECT)["mask"], wanted) and 0.02 < wanted.mean() < 0.5
    cube, guide = bpy.data.objects["Cube"], bpy.data.objects["guide"]
    cube.parent = guide
    cube.matrix_parent_inverse = guide.matrix_world.inverted()
    of_guide = msgspec.structs.replace(OBJECT, object=ObjectManipulation(object="guide", motion="left"))
    assert np.array_equal(collected(scene, of_guide)["mask"], wanted), "of an empty: its children"
    hidden = bpy.data.collections.new("kept")
    hidden.objects.link(cube)
    scene.collection.objects.unlink(cube)
    cube.parent = None
    guide.instance_type, guide.instance_collection, guide.location = "COLLECTION", hidden, (0, 0, 0)
    assert np.array_equal(collected(scene, of_guide)["mask"], wanted), "what it instances"
    cube.hide_render = True
    with pytest.raises(SceneError, match="guide is not seen in the first frame"):
        collected(scene, of_guide)


def followed(scene) -> np.ndarray:
    request = msgspec.structs.replace(OBJECT, object=ObjectManipulation(object="Cube", motion="follow", follow="guide"))
    return collected(scene, request)["object_motion"]


def in_world(scene, matrices) -> np.ndarray:
    """M_t as it acts on points of the world, by hand."""
    scene.frame_set(1)
    camera = blender_to_opencv(np.array(scene.camera.matrix_world))
    scene.frame_set(5)
    return np.linalg.inv(camera) @ matrices @ camera


def test_an_empty_that_moves(scene):
    guide = bpy.data.objects["guide"]
    for frame, x in ((1, 0.5), (12, 2.7)):
        guide.location.x = x
        guide.keyframe_insert("location", frame=frame)
    for point in guide.animation_data.action.layers[0].strips[0].channelbags[0].fcurves[0].keyframe_points:
        point.interpolation = "LINEAR"
    matrices = followed(scene)
    assert np.allclose(matrices[0], np.eye(4))
    expected = np.tile(np.eye(4), (9, 1, 1))
    expected[:, 0, 3] = np.linspace(0, 2.2, 9)
    assert np.allclose(in_world(scene, matrices), expected, atol=1e-5)
    assert np.allclose(matrices[-1][:3, 3], (2.2, 0, 0), atol=1e-5), "right in the world is right in this camera"


def test_an_empty_that_turns_does_so_about_its_own_origin(scene):
    guide = bpy.data.objects["guide"]
    guide.hide_render = True
    for frame, angle in ((1, 0.3), (12, 0.3 + math.pi / 2)):
        guide.rotation_euler.z = angle
        guide.keyframe_insert("rotation_euler", frame=frame)
    last = in_world(scene, followed(scene))[-1]
    assert np.allclose(last @ (0.5, 1, 0.2, 1), (0.5, 1, 0.2, 1), atol=1e-5), "its origin stays"
    assert np.allclose(last @ (1.5, 1, 0.2, 1), (0.5, 2, 0.2, 1), atol=1e-5), "a quarter turn from x to y"


def test_masks_from_files(scene, tmp_path):
    mask = np.zeros((64, 96, 3), np.uint8)
    mask[10:20, 30:50] = 255
    IMAGES.write(tmp_path / "mask.png", mask)
    IMAGES.write(tmp_path / "black.png", mask * 0)
    IMAGES.write(tmp_path / "small.png", mask[:32, :48])
    request = [
        msgspec.structs.replace(OBJECT, object=ObjectManipulation(mask=str(tmp_path / name), motion="rot"))
        for name in ("mask.png", "black.png", "small.png")
    ]
    assert np.array_equal(collected(scene, request[0])["mask"], mask[..., 0] > 0)
    opaque = bpy.data.images.new("opaque", 96, 64, alpha=True)
    opaque.pixels[:] = np.concatenate([mask * 0.0, mask[..., :1] / 255], axis=-1)[::-1].ravel()
    opaque.filepath_raw, opaque.file_format = str(tmp_path / "mask.png"), "PNG"
    opaque.save()
    assert np.array_equal(collected(scene, request[0])["mask"], mask[..., 0] > 0), "black, and opaque where it moves"
    for wrong, said in ((request[1], "is empty"), (request[2], "is 48x32, the picture 96x64")):
        with pytest.raises(UsageError, match=said):
            collected(scene, wrong)


def test_motions_from_files(scene, tmp_path):
    matrices = np.tile(np.eye(4), (9, 1, 1))
    matrices[:, 0, 3] = np.arange(9) + 3
    np.savez(tmp_path / "motion.npz", motion=matrices)
    request = msgspec.structs.replace(OBJECT, object=ObjectManipulation(object="Cube", motion="path", path=str(tmp_path / "motion.npz")))
    assert np.allclose(collected(scene, request)["object_motion"][:, 0, 3], np.arange(9)), "relative to the first"


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"object": ObjectManipulation(object="Cube")}, "how the object moves"),
        ({"object": ObjectManipulation(motion="up")}, "Nothing says what moves"),
        ({"object": ObjectManipulation(object="Sphere", motion="up")}, "no object 'Sphere'"),
        ({"object": ObjectManipulation(object="Cube", motion="follow")}, "No object to follow"),
        ({"object": ObjectManipulation(object="Cube", motion="path", path="none.npy")}, "no motion at none.npy"),
        ({"source": "none.png"}, "There is no image none.png"),
        ({"source": "strip:none"}, "no strip 'none'"),
        ({"depth": DepthSettings(source="file", path="d.exr")}, "outside of Blender"),
    ],
)
def test_what_is_wrong_is_said(scene, changes, said):
    with pytest.raises(DasError, match=said) as caught:
        collected(scene, msgspec.structs.replace(OBJECT, **changes))
    assert caught.value.fix


@pytest.mark.parametrize("frames", [12, 9])
def test_tracks_from_a_file_go_through_the_videos_window(scene, tmp_path, frames):
    for number in range(1, 13):
        IMAGES.write(tmp_path / f"{number:04d}.png", np.zeros((32, 64, 3), np.uint8))
    strip = scene.sequence_editor_create().strips.new_image(name="clip", filepath=str(tmp_path / "0001.png"), channel=1, frame_start=1)
    for number in range(2, 13):
        strip.elements.append(f"{number:04d}.png")
    xy = np.stack([np.arange(frames) + 20.0, np.full(frames, 16.0)], axis=-1)[:, None].astype(np.float32)
    (tmp_path / "tracks.npz").write_bytes(encode_tracks(Tracks(xy=xy, visible=np.ones((frames, 1), bool))))
    transfer = MotionTransfer(tracker="file", tracks=str(tmp_path / "tracks.npz"))
    request = msgspec.structs.replace(REQUEST, task="motion_transfer", source="strip:clip", transfer=transfer)
    inputs = collected(scene, request)
    taken = xy[:, 0, 0][[0, 1, 3, 4, 5, 7, 8, 10, 11] if frames == 12 else slice(None)]
    assert np.allclose(inputs["tracks"][:, 0], np.stack([48 + 2 * (taken - 32), np.full(9, 32)], axis=-1)) and inputs["track_visible"].all()
    (tmp_path / "tracks.npz").write_bytes(encode_tracks(Tracks(xy=xy[:5], visible=np.ones((5, 1), bool))))
    with pytest.raises(UsageError, match="have 5 frames, the video has 12"):
        collected(scene, request)
