"""Whole production scenes: every vertex of every frame is where Blender's own viewport has it."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec

from .zoo import ZOO, film, viewport


@pytest.mark.parametrize("name, count", [("robot_dance", 15), ("fox_run", 2)])
def test_a_scene_over_its_whole_range(shared_data, name, count):
    bpy.ops.wm.open_mainfile(filepath=str(shared_data / f"{name}.blend"))
    scene = bpy.context.scene
    found = film(scene, msgspec.structs.replace(ZOO, start=scene.frame_start, end=scene.frame_end, frames=49))
    assert len(found.object_names) == count and not found.untracked
    first = {each: viewport(scene, each, scene.frame_start) for each in found.object_names}
    for frame in found.frames:
        assert frame.tracked.all() and frame.frame == round(frame.frame)
        for each in found.object_names:
            mine = found.rows(frame, each)
            assert np.allclose(frame.positions[mine], viewport(scene, each, int(frame.frame)), atol=1e-4)
            assert np.allclose(frame.rest[mine], first[each], atol=1e-4)
    moved = np.abs(found.frames[24].positions - found.frames[24].rest).max()
    assert moved > 0.1
