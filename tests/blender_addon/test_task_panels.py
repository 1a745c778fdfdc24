"""The panel's tasks: what each asks for, and that the settings are the request and back."""

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import properties
from diffusion_as_shader.blender_addon.footage import in_own_frames
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import (
    CameraControl,
    DepthSettings,
    FirstFrame,
    GenerationRequest,
    MotionTransfer,
    ObjectManipulation,
    Repaint,
)

from .panel_layout import drawn
from .scenes import moving_cube


@pytest.fixture
def scene(addon):
    return moving_cube()


def test_mesh_to_video_asks_for_nothing_new(scene):
    seen = drawn()
    assert seen[0] == "task" and "first_frame" in seen and "das.check_shot" in seen and "repaint" in seen
    assert not {"picture", "video", "path", "mask", "strength"} & set(seen)


def test_camera_control(scene):
    scene.das.task, tasks = "camera_control", scene.das.tasks
    seen = drawn()
    assert {"picture", "depth", "path", "first_frame"} < set(seen)
    assert not {"look", "words", "onto", "das.check_shot", "hidden", "write", "grid", "mask"} & set(seen)
    tasks.picture, tasks.depth, tasks.path = "file", "moge", "words"
    seen = drawn()
    assert {"file", "look", "depth_weights", "words", "order", "onto"} < set(seen) and "first_frame" not in seen
    tasks.words = "trans 1 0 0; rott y 5"
    assert any("Column 14" in line for line in drawn())
    tasks.path, tasks.picture = "file", "strip"
    scene.sequence_editor_clear()
    assert "path_file" in drawn() and "strip" not in drawn()
    scene.sequence_editor_create()
    assert "strip" in drawn()


def test_object_manipulation(scene):
    scene.das.task, tasks = "object_manipulation", scene.das.tasks
    assert {"mask", "object", "motion", "follow", "picture"} < set(drawn())
    tasks.mask, tasks.motion = "point", "rot"
    assert {"click", "distance"} < set(drawn()) and "follow" not in drawn()


def test_motion_transfer_needs_no_camera(scene):
    scene.das.task, scene.camera = "motion_transfer", None
    assert {"video", "look", "tracker", "grid"} < set(drawn()) and not {"depth", "picture", "first_frame"} & set(drawn())
    assert bpy.ops.das.generate.poll()
    scene.das.task = "camera_control"
    assert not bpy.ops.das.generate.poll()
    scene.das.tasks.tracker, scene.das.task = "file", "motion_transfer"
    assert "tracks" in drawn() and "grid" not in drawn()


def test_a_candidate_becomes_the_first_frame(scene, tmp_path):
    files = [tmp_path / f"{number:04d}.png" for number in (1, 2)]
    for file in files:
        BlenderImages().write(file, np.zeros((64, 96, 3), np.uint8))
    scene.das.tasks.repaint, runner.candidates = "sdxl", files
    assert drawn().count("das.use_candidate") == 2 and "repaint_base" in drawn()
    bpy.ops.das.use_candidate(file=str(files[1]))
    request = properties.request_of(scene)
    assert request.first_frame == FirstFrame(source="file", path=str(files[1])) and not request.repaint.model
    scene.das.task, scene.das.tasks.picture, scene.das.tasks.file = "camera_control", "file", "//photo.png"
    bpy.ops.das.use_candidate(file=str(files[0]))
    request = properties.request_of(scene)
    assert request.source.endswith("photo.png") and request.first_frame == FirstFrame(source="file", path=str(files[0]))
    runner.close()
    assert not runner.candidates


REQUESTS = [
    GenerationRequest(repaint=Repaint(model="sdxl", strength=0.7, candidates=4, steps=12, weights="own/id", base="other/id")),
    GenerationRequest(task="camera_control", first_frame=FirstFrame(source="workbench")),
    GenerationRequest(
        task="camera_control", source="/a/photo.png", first_frame=FirstFrame(source="file", path="/a/look.png"),
        depth=DepthSettings(source="moge", weights="own/id"), camera=CameraControl(motion="rot y 5", order="reference", onto="override"),
    ),
    GenerationRequest(task="camera_control", source="strip:clip", camera=CameraControl(path="/a/path.json")),
    GenerationRequest(task="object_manipulation", object=ObjectManipulation(object="Cube", motion="follow", follow="Camera")),
    GenerationRequest(task="object_manipulation", object=ObjectManipulation(mask="/a/mask.png", motion="rot", distance=33.3)),
    GenerationRequest(task="object_manipulation", object=ObjectManipulation(click=(12, 30), motion="path", path="/a/motion.npy")),
    GenerationRequest(task="motion_transfer", source="/a/clip.mp4", transfer=MotionTransfer(tracker="lucas_kanade", grid="30x20")),
    GenerationRequest(task="motion_transfer", source="strip:clip", transfer=MotionTransfer(tracker="file", tracks="/a/tracks.npz")),
]  # fmt: skip


@pytest.mark.parametrize("request_", REQUESTS, ids=lambda request: f"{request.task} {request.source}")
def test_settings_and_request_say_the_same(scene, request_):
    properties.apply_request(scene, request_)
    assert properties.request_of(scene) == request_


def test_one_task_leaves_the_settings_of_the_others_out(scene):
    properties.apply_request(scene, REQUESTS[2])
    scene.das.task = "mesh_to_video"
    request = properties.request_of(scene)
    assert (request.source, request.camera, request.depth) == ("", CameraControl(), DepthSettings())
    assert properties.request_of(scene, "camera_control").camera.motion == "rot y 5"


def test_nothing_chosen_is_said(scene):
    scene.das.task, scene.das.tasks.picture = "camera_control", "file"
    with pytest.raises(RuntimeError, match="No file is chosen"):
        bpy.ops.das.generate()
    assert drawn()


def test_a_video_has_its_own_range_and_rate(scene, tmp_path):
    files = [tmp_path / f"{number:04d}.png" for number in range(1, 13)]
    for file in files:
        BlenderImages().write(file, np.zeros((64, 96, 3), np.uint8))
    BlenderImages().write_video(tmp_path / "clip.mp4", files, 30)
    movie = GenerationRequest(task="motion_transfer", source=str(tmp_path / "clip.mp4"), start=3, end=9)
    own = in_own_frames(scene, movie)
    assert (own.start, own.end, own.scene_fps) == (1, 12, pytest.approx(30))
    kept = in_own_frames(scene, movie, keep_range=True)
    assert (kept.start, kept.end, kept.scene_fps) == (3, 9, pytest.approx(30))
    editor = scene.sequence_editor_create()
    strip = editor.strips.new_image(name="one", filepath=str(files[0]), channel=1, frame_start=40)
    still = msgspec.structs.replace(movie, source="strip:one")
    assert in_own_frames(scene, still) == still, "a picture has none"
    for file in files[1:]:
        strip.elements.append(file.name)
    assert (in_own_frames(scene, still).start, in_own_frames(scene, still).end) == (40, 51)
    strip.frame_final_duration = 1
    with pytest.raises(UsageError, match="shows one frame only"):
        in_own_frames(scene, still)
