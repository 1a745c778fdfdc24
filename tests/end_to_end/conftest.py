"""`das` as a user runs it: in a process of its own, on scenes with awkward names."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

SMALL = ("--size", "96x64", "--count", "9", "--first-frame", "workbench")


class Run(NamedTuple):
    """How a command ended; ``lines`` are the JSON objects of its standard output."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def result(self) -> dict:
        return next(line for line in self.lines if line["event"] == "result")


def das_command(*words) -> list[str]:
    return [sys.executable, "-m", "diffusion_as_shader", *map(str, words)]


def das(*words, timeout: float = 240, **variables) -> Run:
    """Run a command to its end."""
    done = subprocess.run(
        das_command(*words), capture_output=True, text=True, timeout=timeout, env={**os.environ, **variables}
    )
    return Run(done.returncode, done.stdout, done.stderr)


def partial_files(folder: Path) -> list[Path]:
    """What must never be left over."""
    return [file for file in folder.rglob("*") if ".partial" in file.name]


@pytest.fixture(scope="module")
def scenes(tmp_path_factory) -> Path:
    """A folder of small .blend files: one that works, and those that cannot be used."""
    import bpy

    folder = tmp_path_factory.mktemp("Szenen für Übung")

    def save(name):
        bpy.ops.wm.save_as_mainfile(filepath=str(folder / f"{name}.blend"), copy=True)

    _build_moving_cube(bpy)
    save("moving cube")
    camera = bpy.context.scene.camera
    camera.data.type = "PANO"
    save("panoramic")
    camera.data.type = "PERSP"
    cube = bpy.data.objects["Cube"]
    cube.hide_render = True
    save("nothing visible")
    cube.hide_render = False
    bpy.data.objects.remove(camera)
    save("no camera")
    (folder / "not a scene.blend").write_text("This is a letter.\n")
    bpy.ops.wm.read_factory_settings(use_empty=True)
    return folder


@pytest.fixture
def scene_file(scenes) -> Path:
    """A cube that moves past a camera, 9 frames."""
    return scenes / "moving cube.blend"


def _build_moving_cube(bpy) -> None:
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_start, scene.frame_end = 1, 9
    scene.render.engine = "BLENDER_WORKBENCH"
    bpy.ops.mesh.primitive_plane_add(size=12)
    bpy.context.object.hide_render = True
    bpy.ops.mesh.primitive_cube_add(size=1.5)
    cube = bpy.context.object
    cube.name = "Cube"
    for frame, x in ((1, -0.8), (9, 0.8)):
        cube.location.x = x
        cube.keyframe_insert("location", frame=frame)
    bpy.ops.object.camera_add(location=(0, -6, 1), rotation=(1.4, 0, 0))
    scene.camera = bpy.context.object
