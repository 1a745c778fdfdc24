"""A video's camera, found from true tracks and depth by the backend's room, against the camera that Blender had."""

import json
import subprocess

import numpy as np
import pytest

from diffusion_as_shader.shared import home
from diffusion_as_shader.shared.camera import read_camera_path

from .conftest import das

bpy = pytest.importorskip("bpy")

SCRIPT = """
import json, sys
import numpy as np
from diffusion_as_shader.backend.vision.poses import estimate_poses
stored, K = np.load(sys.argv[1]), np.array(json.loads(sys.argv[2]))
poses = estimate_poses(stored["tracks"], stored["visibility"], stored["depth"], K)
print(json.dumps({"poses": poses.world_to_camera.tolist(), "notes": poses.notes}))
"""


@pytest.fixture(scope="module")
def walk(tmp_path_factory):
    """A camera that goes forward, turns and rolls among boxes, of which one moves by itself."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 9
    bpy.ops.mesh.primitive_plane_add(size=60)
    for place in ((-3, 4, 1), (2, 7, 1.5), (4, 2, 0.8), (-1, 11, 2)):
        bpy.ops.mesh.primitive_cube_add(size=2, location=place, rotation=(0, 0, place[0]))
    bpy.ops.mesh.primitive_uv_sphere_add(radius=0.8, location=(0, 3, 1))
    ball = bpy.context.object
    bpy.ops.object.camera_add()
    camera = scene.camera = bpy.context.object
    for frame, spot, angles, ball_x in ((1, (0, -7, 2.5), (1.4, 0, 0), -1.5), (9, (1.5, -4.5, 3), (1.3, 0.15, 0.35), 1.5)):
        camera.location, camera.rotation_euler, ball.location.x = spot, angles, ball_x
        for block, name in ((camera, "location"), (camera, "rotation_euler"), (ball, "location")):
            block.keyframe_insert(name, frame=frame)
    folder = tmp_path_factory.mktemp("walk")
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / "walk.blend"))
    run = das("track", folder / "walk.blend", "--size", "240x160", "--count", "9", "--first-frame", "workbench",
              "--write", "tracks", "--points", "40x30", "-o", folder / "take")  # fmt: skip
    assert run.code == 0, run.err
    return folder / "take"


def test_rotation_is_within_half_a_degree(walk):
    truth = read_camera_path(walk / "camera.json")
    wanted = truth.world_to_camera @ np.linalg.inv(truth.world_to_camera[0])
    backend = home.environments("backend")
    if not backend:
        pytest.skip("needs the backend's environment")
    words = [backend[0].python, "-c", SCRIPT, str(walk / "tracks.npz"), json.dumps(np.asarray(truth.K).tolist())]
    run = subprocess.run(words, capture_output=True, text=True, timeout=120)
    assert run.returncode == 0, run.stderr
    told = json.loads(run.stdout)
    found = np.array(told["poses"])
    cosine = (np.trace(found[:, :3, :3] @ wanted[:, :3, :3].swapaxes(1, 2), axis1=1, axis2=2) - 1) / 2
    degrees, apart = np.degrees(np.arccos(np.clip(cosine, -1, 1))).max(), np.abs(found[:, :3, 3] - wanted[:, :3, 3]).max()
    assert np.degrees(np.arccos((np.trace(wanted[-1, :3, :3]) - 1) / 2)) > 15, "the camera should turn"
    assert degrees < 0.1 and apart < 0.02 and told["notes"] == []
