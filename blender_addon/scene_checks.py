"""What a scene's settings alone say against a shot, before anything is captured. Sentences are those of the errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import bpy
import numpy as np

from ..shared.errors import DasError, SceneError
from ..shared.preflight import Finding
from ..shared.request import GenerationRequest, check
from ..shared.timeline import sample_frames
from . import cameras
from .capture.geometry import missing_notes
from .capture.physics import check_fluids, check_rigid_bodies
from .capture.scene_guard import check_not_rendering, first_layer
from .measuring import camera_name


def scene_findings(scene: bpy.types.Scene, request: GenerationRequest) -> list[Finding]:
    """Everything that stands against a capture, and what the file lacks."""
    wrong = [*_request(request), *_cameras(scene, request), *_rigid_bodies(scene)]
    wrong += blocked_by(lambda: check_fluids(scene), "fluid")
    for test in (check_not_rendering, lambda: first_layer(scene)):
        wrong += blocked_by(test, "scene")
    return wrong + _missing()


def blocked_by(test: Callable[[], object], kind: str, **mend) -> list[Finding]:
    """The error of ``test`` as a blocking finding; nothing where there is none."""
    try:
        test()
    except DasError as error:
        return [from_error(error, kind, **mend)]
    return []


def from_error(error: DasError, kind: str, **mend) -> Finding:
    """An error's two sentences as a finding that blocks."""
    return Finding(severity="block", kind=kind, message=error.message, fix=error.fix, **mend)


def _request(request: GenerationRequest) -> list[Finding]:
    """An empty range, an odd size or count: what a scene's own settings can get wrong."""
    start = int(np.ceil(request.start)) if np.isfinite(request.start) else 1
    options = {"start": start, "end": start + request.frames - 1}
    mend = {"operator": "das.model_range", "options": options} if request.end <= request.start else {}
    return blocked_by(lambda: check(request), "settings", **mend)


def _cameras(scene: bpy.types.Scene, request: GenerationRequest) -> list[Finding]:
    missing = blocked_by(lambda: cameras.check_any_camera(scene), "no_camera", **_choose_camera(scene))
    if missing or request.end <= request.start:
        return missing
    names = dict.fromkeys(camera_name(scene, frame) for frame in sample_frames(request.start, request.end, request.frames))
    found = []
    for name in names:
        camera = scene.objects.get(name) or bpy.data.objects.get(name)
        if camera is None or camera.type != "CAMERA":
            found += [from_error(_no_camera_object(name, request), "no_camera", **_choose_camera(scene))]
        else:
            mend = {"operator": "das.set_perspective", "options": {"camera": name}}
            found += blocked_by(lambda camera=camera: cameras.check_perspective(camera), "projection", **mend)
    return found


def _no_camera_object(name: str, request: GenerationRequest) -> SceneError:
    if not name:
        return SceneError(f"The scene has no camera at frame {request.start:g}.", "Add a camera, or choose one in the scene properties.")
    return SceneError(f"{name} is the scene's camera, but it is no camera object.", "Choose a camera in the scene properties.")


def _choose_camera(scene: bpy.types.Scene) -> dict:
    """The mending by the first perspective camera of the scene, by name."""
    names = sorted(thing.name for thing in scene.objects if thing.type == "CAMERA" and thing.data.type == "PERSP")
    return {"operator": "das.choose_camera", "options": {"camera": names[0]}} if names else {}


def _rigid_bodies(scene: bpy.types.Scene) -> list[Finding]:
    return blocked_by(lambda: check_rigid_bodies(scene), "rigid_bodies", operator="das.bake_rigid_bodies")


def _missing() -> list[Finding]:
    """What the file asks for and Blender did not do or find."""
    fix = "Allow its scripts or find its files, then check again."
    found = [Finding(severity="warning", kind="missing", message=sentence, fix=fix) for sentence in missing_notes()]
    absent = [image for image in bpy.data.images if _is_missing(image)]
    used = bpy.data.user_map(subset=absent) if absent else {}  # an image may count users that are no data-blocks
    if names := sorted(image.name for image in absent if used[image]):
        shown = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
        found.append(
            Finding(
                severity="warning", kind="missing_images", value=len(names), message=f"Image files are missing: {shown}.",
                fix="Find them with File, External Data, Find Missing Files: the first frame shows pink instead.",
            )
        )  # fmt: skip
    return found


def _is_missing(image: bpy.types.Image) -> bool:
    if image.source != "FILE" or image.packed_file or not image.filepath:
        return False
    return not Path(bpy.path.abspath(image.filepath, library=image.library)).exists()
