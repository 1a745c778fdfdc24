"""The tasks from a scene to a take and its video, with a real backend; their settings and panels."""

import msgspec
import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import sequencer
from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.capture.signals import draw_signals
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.task_jobs import TaskJob, job_of
from diffusion_as_shader.shared.errors import DasError, UsageError
from diffusion_as_shader.shared.request import CameraControl, FirstFrame, MotionTransfer, ObjectManipulation, Repaint
from diffusion_as_shader.shared.take import Take

from .drawing import grown
from .scenes import REQUEST, moving_cube

pytestmark = pytest.mark.usefixtures("backend")
NEAR = 4  # levels: one of 64 pixels
IMAGES = BlenderImages()
CAMERA = msgspec.structs.replace(REQUEST, task="camera_control")
OBJECT = msgspec.structs.replace(
    REQUEST, task="object_manipulation", object=ObjectManipulation(object="Cube", motion="follow", follow="Cube")
)


@pytest.fixture
def scene():
    """The moving cube before a wall, seen by a camera that moves sideways."""
    scene = moving_cube()
    bpy.ops.mesh.primitive_plane_add(size=20, location=(0, 3, 0), rotation=(1.5708, 0, 0))
    for frame, x in ((1, -0.4), (12, 0.4)):
        scene.camera.location.x = x
        scene.camera.keyframe_insert("location", frame=frame)
    return scene


def made(scene, request, folder, purpose, **options) -> Take:
    job_of(scene, request, folder, purpose, patience=0.1, **options).run()
    return Take.open(folder, IMAGES)


def agreement(scene, request, take) -> list[float]:
    """Each frame's share of pixels, edges and holes apart, that are within NEAR levels of what the capture draws."""
    tracking, shares = take.read_tracking().astype(int), []
    mesh = msgspec.structs.replace(request, task="mesh_to_video")
    with capture(scene, mesh) as captured:
        for index, frame in draw_signals(captured, mesh, NumpyDrawer()):
            edges = np.zeros(frame.object.shape, bool)
            for axis in (0, 1):
                changes = np.diff(frame.object.astype(int), axis=axis) != 0
                edges[:-1 if axis == 0 else None, :-1 if axis == 1 else None] |= changes
            both = tracking[index].any(axis=-1) & frame.tracking.any(axis=-1) & ~grown(grown(edges))
            shares.append((np.abs(tracking[index] - frame.tracking).max(axis=-1)[both] <= NEAR).mean() if both.mean() > 0.3 else 0.0)
    return shares


def still(scene) -> None:
    """The cube stands."""
    bpy.data.objects["Cube"].animation_data_clear()


def test_camera_control_is_what_the_capture_draws(scene, tmp_path):
    still(scene)
    take = made(scene, CAMERA, tmp_path / "take", "generate", strip_scene=scene)
    assert take.record.state == "done" and take.video.exists() and not take.missing_frames()
    assert min(agreement(scene, CAMERA, take)) > 0.98
    assert take.read_camera_path().world_to_camera.shape == (9, 4, 4) and {"inputs", "preparation"} < set(take.record.timings)
    assert len(sequencer.find_strip(scene, take.folder / "frames").elements) == 12


def test_an_object_that_follows_is_what_the_capture_draws(scene, tmp_path):
    take = made(scene, OBJECT, tmp_path / "take", "preview", strip_scene=scene)
    assert take.record.state == "prepared" and not (take.folder / "frames").exists()
    assert min(agreement(scene, OBJECT, take)) > 0.96
    assert len(sequencer.find_strip(scene, take.folder / "tracking").elements) == 12


def test_motion_transfer_of_a_strip_with_another_look(scene, tmp_path):
    texture = np.random.default_rng(0).integers(0, 256, (20, 40, 3), dtype=np.uint8).repeat(6, axis=0).repeat(6, axis=1)
    for index in range(12):
        IMAGES.write(tmp_path / f"{index + 1:04d}.png", texture[20:84, 10 + 2 * index : 106 + 2 * index])
    strip = scene.sequence_editor_create().strips.new_image(
        name="clip", filepath=str(tmp_path / "0001.png"), channel=1, frame_start=1, fit_method="FIT"
    )
    for index in range(1, 12):
        strip.elements.append(f"{index + 1:04d}.png")
    look = np.full((64, 96, 3), (200, 100, 50), np.uint8)
    IMAGES.write(tmp_path / "look.png", look)
    request = msgspec.structs.replace(
        REQUEST, task="motion_transfer", source="strip:clip", transfer=MotionTransfer(grid="24x16"),
        first_frame=FirstFrame(source="file", path=str(tmp_path / "look.png")),
    )  # fmt: skip
    take = made(scene, request, tmp_path / "take", "track")
    assert take.record.state == "prepared" and np.array_equal(take.read_first_frame(), look)
    tracks = np.load(take.folder / "tracks.npz")
    key = "tracks" if "tracks" in tracks else tracks.files[0]
    moved = np.median(tracks[key][-1] - tracks[key][0], axis=0)
    assert moved == pytest.approx((-22, 0), abs=0.5), "the picture goes 2 pixels a frame to the left"


def test_what_the_backend_cannot_use_leaves_no_take(scene, tmp_path):
    request = msgspec.structs.replace(CAMERA, camera=CameraControl(motion="fly 1 0 0"))
    with pytest.raises(UsageError, match="Column 1 of the motion: 'fly'"):
        TaskJob(scene, request, tmp_path / "take", patience=0.1).run()
    assert not (tmp_path / "take").exists()


def test_a_repaint_without_its_model_keeps_what_was_captured(scene, tmp_path):
    request = msgspec.structs.replace(REQUEST, repaint=Repaint(model="sdxl", base=str(tmp_path), weights=str(tmp_path)))
    with pytest.raises(DasError) as caught:
        job_of(scene, request, tmp_path / "take", "track", patience=0.1).run()
    assert caught.value.fix
    take = Take.open(tmp_path / "take", IMAGES)
    assert take.record.state == "failed" and take.read_tracking().any() and take.read_first_frame().any()
