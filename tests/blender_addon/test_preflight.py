"""The pre-flight of scenes built for one finding each, with the number worked out by hand, and every mending.

The camera stands at the origin, looks along +y, and sees a width of d and a height of 2d/3 at depth d.
"""

import math
import time

import bpy
import numpy as np
import pytest

from diffusion_as_shader import blender_addon
from diffusion_as_shader.blender_addon import properties
from diffusion_as_shader.blender_addon.capture.first_frame import first_frame
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.measuring import camera_name
from diffusion_as_shader.blender_addon.operators.check import CLASSES
from diffusion_as_shader.blender_addon.panels.check import DAS_PT_check, ago
from diffusion_as_shader.blender_addon.preflight import Check
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.shared import png
from diffusion_as_shader.shared.errors import Cancelled
from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest

from .test_panel import Layout

REQUEST = GenerationRequest(width=96, height=64, frames=9, start=1, end=9, first_frame=FirstFrame(source="workbench"))


@pytest.fixture
def scene():
    """An empty stage with its camera and nine frames, in Blender with the add-on."""
    if hasattr(bpy.types.Scene, "das"):
        properties.unregister()
    blender_addon.register()
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.frame_end = 9
    scene.render.resolution_x, scene.render.resolution_y = 960, 640
    scene.camera = add_camera("Camera")
    properties.apply_request(scene, REQUEST)
    yield scene
    blender_addon.unregister()
    runner.message = runner.fix = ""


def add_camera(name, x=0.0):
    data = bpy.data.cameras.new(name)
    data.lens = data.sensor_width = 36
    camera = bpy.data.objects.new(name, data)
    camera.location, camera.rotation_euler = (x, 0, 0), (math.pi / 2, 0, 0)
    bpy.context.scene.collection.objects.link(camera)
    return camera


def add_wall(depth, width=400.0, x=0.0, height=400.0, name="Wall"):
    """A rectangle that faces the camera, its middle at x."""
    mesh = bpy.data.meshes.new(name)
    corners = [(x + across * width / 2, depth, up * height / 2) for across, up in ((-1, -1), (1, -1), (1, 1), (-1, 1))]
    mesh.from_pydata(corners, [], [(0, 1, 2, 3)])
    wall = bpy.data.objects.new(name, mesh)
    bpy.context.scene.collection.objects.link(wall)
    return wall


def key(thing, path, *values, interpolation="LINEAR"):
    """(frame, value) keys of a property."""
    for frame, value in values:
        setattr(thing, path, value)
        thing.keyframe_insert(path, frame=frame)
    animation = thing.animation_data
    for curve in animation.action.layers[0].strips[0].channelbag(animation.action_slot).fcurves:
        for point in curve.keyframe_points:
            point.interpolation = interpolation


def add_mover(depth=5.0, name="Mover", step=0.1):
    """A small rectangle that moves sideways by ``step`` a frame."""
    mover = add_wall(depth, width=1, height=1, name=name)
    key(mover, "location", (1, (-4 * step, 0, 0)), (9, (4 * step, 0, 0)))
    return mover


def check(scene, **options):
    return Check(scene, properties.request_of(scene), **options).run()


def kinds(report):
    return {finding.kind for finding in report.findings}


def found(report, kind):
    (finding,) = [finding for finding in report.findings if finding.kind == kind]
    return finding


def mend(finding):
    """Press the finding's button."""
    group, _, name = finding.operator.partition(".")
    assert getattr(getattr(bpy.ops, group), name)(**finding.options) == {"FINISHED"}


def good_stage():
    add_wall(10)
    add_mover()


# numbers


def test_a_good_shot_has_no_finding(scene):
    good_stage()
    report = check(scene)
    assert report.findings == [] and report.summary() == "The shot is ready."
    first, last = report.measured.frames[0], report.measured.frames[-1]
    assert first.tracked == first.surface == 1.0 and first.motion == 0
    # 0.1 units at depth 5 are 0.1 / 5 * 96 pixels; it covers a fifth of the width and 3/10 of the height
    assert last.fastest == pytest.approx(1.92, abs=0.01) and last.fastest_object == "Mover"
    # it uncovers 0.8 units at depth 5, less its own width where the old and the new place meet
    assert last.hidden == pytest.approx(0.8 / 5 * 0.3, abs=0.01) and last.off_screen == last.lost == 0
    assert report.measured.depth_low == pytest.approx(5, abs=0.01) and report.measured.depth_high == pytest.approx(10, abs=0.01)


def test_half_a_wall_is_half_of_the_frame(scene):
    add_wall(10, width=5, name="Half")
    key(scene.camera, "location", (1, (0, 0, 0)), (9, (0.1, 0, 0)))
    assert check(scene).measured.first.tracked == pytest.approx(0.5)


def test_a_sideways_camera_brings_in_what_was_off_screen(scene):
    add_wall(10)
    key(scene.camera, "location", (1, (0, 0, 0)), (9, (3.8, 0, 0)))
    report = check(scene)
    last = report.measured.frames[-1]
    # 3.8 of 10 units come in; 0.475 units a frame are 0.475 / 10 * 96 pixels
    assert last.off_screen == pytest.approx(0.38, abs=0.01) and last.hidden == 0
    assert last.motion == pytest.approx(4.56, abs=0.01) and last.view_motion == pytest.approx(4.56, abs=0.01)
    assert last.tracked == pytest.approx(0.62, abs=0.01)
    unseen = found(report, "unseen")
    assert unseen.value == pytest.approx(0.38, abs=0.01) and unseen.options == {"start": 1, "end": 8}
    mend(unseen)
    assert "unseen" not in kinds(check(scene))


def test_what_stood_behind_something_was_never_seen(scene):
    add_wall(10)
    screen = add_wall(5, width=2.5, name="Screen")
    key(screen, "hide_render", (1, False), (6, True))
    add_mover(depth=4)
    report = check(scene)
    # the screen hides half of the wall until frame 5; the mover covers 1 of 4 units by 1 of 8/3
    assert [report.measured.frames[index].hidden < 0.1 for index in (4, 5)] == [True, False]
    worst = found(report, "unseen")
    assert worst.value == pytest.approx(0.5 - 1 / 4 * 3 / 8, abs=0.02) and "off screen" in worst.message
    mend(worst)
    assert scene.das.end == 5 and "unseen" not in kinds(check(scene))


def test_black_where_hidden_is_not_tracked(scene):
    add_wall(10)
    screen = add_wall(5, width=2.5, name="Screen")
    key(screen, "hide_render", (1, False), (6, True))
    scene.das.hidden = "black"
    assert check(scene).measured.frames[-1].tracked == pytest.approx(0.5, abs=0.02)


def test_the_world_counts_where_it_is_tracked(scene):
    add_wall(10, width=5)
    key(scene.camera, "rotation_euler", (1, (math.pi / 2, 0, 0)), (9, (math.pi / 2, 0, 0.1)))
    scene.das.background = "world"
    first, last = (check(scene).measured.frames[index] for index in (0, -1))
    assert first.tracked == 1.0
    # the view turns by 0.1: its edge at 45/2 degrees from the middle (tan = 1/2) comes to tan(atan(0.5) + 0.1)
    assert last.off_screen == pytest.approx(0.5 - math.tan(math.atan(0.5) - 0.1), abs=0.02)


def test_margins_of_a_padded_window_are_not_counted(scene):
    add_wall(10)
    scene.render.resolution_x, scene.render.resolution_y = 640, 640
    scene.das.fit = "pad"
    assert check(scene).measured.first.tracked == 1.0


def test_fractions_of_frames(scene):
    good_stage()
    scene.das.end = 5
    report = check(scene)
    assert [frame.frame for frame in report.measured.frames[:3]] == [1, 1.5, 2]
    assert report.measured.frames[1].fastest == pytest.approx(0.96, abs=0.01)


# findings and their mendings


def test_nothing_in_view_moves_the_start(scene):
    wall = add_wall(10)
    key(wall, "hide_render", (1, True), (4, False))
    report = check(scene)
    nothing = found(report, "nothing_tracked")
    assert nothing.severity == "block" and "no visible geometry" in nothing.message
    mend(nothing)
    assert (scene.das.range, scene.das.start, scene.das.end) == ("custom", 4, 9)
    assert "nothing_tracked" not in kinds(check(scene))


def test_a_small_subject(scene):
    add_wall(10, width=1, height=1)
    key(scene.camera, "location", (1, (0, 0, 0)), (9, (0.2, 0, 0)))
    small = found(check(scene), "tracked_at_start")
    # 1 unit of a width of 10 and a height of 20/3
    assert small.severity == "warning" and small.value == pytest.approx(0.1 * 0.15, rel=0.15)


def test_the_stage_is_empty_later(scene):
    key(add_wall(10), "hide_render", (1, False), (9, True))
    later = found(check(scene), "tracked_later")
    assert (later.frame, later.value, later.severity) == (9, 0, "warning")


def test_a_camera_marker_cuts_and_is_split(scene):
    good_stage()
    other = add_camera("Other", x=1.0)
    for frame, camera in ((1, scene.camera), (4, other)):
        scene.timeline_markers.new("m", frame=frame).camera = camera
    cut = found(check(scene), "cut")
    # one unit sideways, seen at the wall's depth of 10
    assert cut.severity == "block" and cut.frame == 4 and cut.value == pytest.approx(9.6, abs=0.1)
    assert "from Camera to Other" in cut.message
    mend(cut)
    assert (scene.das.start, scene.das.end) == (4, 9) and "cut" not in kinds(check(scene))


def test_a_jump_of_the_camera_cuts(scene):
    good_stage()
    key(scene.camera, "location", (1, (0, 0, 0)), (8, (2, 0, 0)), interpolation="CONSTANT")
    cut = found(check(scene), "cut")
    assert cut.frame == 8 and "jumps by 19 pixels" in cut.message
    mend(cut)
    assert (scene.das.start, scene.das.end) == (1, 7) and "cut" not in kinds(check(scene))


def test_cameras_of_markers_are_those_that_blender_takes(scene):
    good_stage()
    cameras = [add_camera(name, x=float(index)) for index, name in enumerate("abc")]
    for frame, camera in zip((3, 5, 7), cameras):
        scene.timeline_markers.new("m", frame=frame).camera = camera
    cameras[1].hide_render = True
    check(scene)
    expected = []
    for frame in range(1, 10):
        scene.frame_set(frame)
        expected.append(scene.camera.name)
    assert [camera_name(scene, frame) for frame in range(1, 10)] == expected
    assert set(expected) == {"a", "c"}


def test_far_clipping(scene):
    add_wall(10, width=5)
    add_mover(depth=6)
    scene.camera.data.clip_end = 8
    report = check(scene)
    clip = found(report, "clip_far")
    # half of the frame, less the mover, which covers 1 of 6 units by 1 of 4
    assert clip.value == pytest.approx(0.5 - 1 / 6 / 4, abs=0.01)
    assert report.measured.first.tracked == pytest.approx(1 / 6 / 4, abs=0.01)
    mend(clip)
    assert scene.camera.data.clip_end == pytest.approx(11, rel=1e-4) and "clip_far" not in kinds(check(scene))


def test_near_clipping(scene):
    good_stage()
    add_wall(0.05, width=0.025, name="Glass")
    clip = found(check(scene), "clip_near")
    assert clip.value == pytest.approx(0.5, abs=0.01)
    mend(clip)
    assert scene.camera.data.clip_start == pytest.approx(0.045, rel=1e-3) and "clip_near" not in kinds(check(scene))


def test_a_floor_below_the_camera_is_not_clipped(scene):
    add_mover()
    mesh = bpy.data.meshes.new("Floor")
    mesh.from_pydata([(-50, -50, -1), (50, -50, -1), (50, 50, -1), (-50, 50, -1)], [], [(0, 1, 2, 3)])
    scene.collection.objects.link(bpy.data.objects.new("Floor", mesh))
    assert "clip_near" not in kinds(check(scene))


def test_depth_range(scene):
    add_wall(200)
    add_wall(1, width=0.5, name="Near")
    assert found(check(scene), "depth_range").value == pytest.approx(200, rel=0.01)


def test_fast_motion_names_who_moves(scene):
    add_wall(10)
    add_mover(step=0.5)  # 0.5 / 5 * 96 = 9.6 pixels, a tenth of the width
    motion = found(check(scene), "motion")
    assert motion.value == pytest.approx(9.6, abs=0.05) and "Mover" in motion.message


def test_a_still(scene):
    add_wall(10)
    assert found(check(scene), "still").severity == "warning"


def test_a_range_outside_of_the_file(scene):
    good_stage()
    scene.das.start, scene.das.end = 101, 109
    report = check(scene)
    still = found(report, "still")
    assert still.severity == "block" and found(report, "outside").severity == "warning"
    mend(still)
    assert (scene.das.start, scene.das.end) == (1, 9) and check(scene).findings == []


def test_a_long_rest_is_clamped_to_the_motion(scene):
    good_stage()
    scene.frame_end = scene.das.end = 17
    scene.das.frames = 17
    rest = found(check(scene), "rest")
    assert rest.value == 0.5 and rest.options == {"start": 1, "end": 9}
    mend(rest)
    assert "rest" not in kinds(check(scene))


def test_an_empty_range(scene):
    good_stage()
    scene.das.end = 1
    settings = found(check(scene), "settings")
    assert settings.severity == "block" and "empty or reversed" in settings.message
    mend(settings)
    assert (scene.das.start, scene.das.end) == (1, 9) and check(scene).findings == []


def test_rate(scene):
    add_wall(10)
    key(scene.camera, "location", (1, (0, 0, 0)), (81, (2, 0, 0)))
    scene.frame_end = scene.das.end = 81
    rate = found(check(scene), "rate")
    assert rate.value == pytest.approx(9 * 24 / 81)
    mend(rate)
    assert scene.das.end == 9 and check(scene).findings == []


def test_a_count_that_the_model_was_not_trained_on(scene):
    good_stage()
    scene.das.engine = "das"
    count = found(check(scene), "count")
    mend(count)
    assert scene.das.frames == 49


def test_no_camera(scene):
    good_stage()
    camera, scene.camera = scene.camera, None
    missing = found(check(scene), "no_camera")
    assert (missing.severity, missing.message) == ("block", "The scene has no camera.")
    mend(missing)
    assert scene.camera == camera and check(scene).findings == []


def test_no_camera_and_none_to_choose(scene):
    good_stage()
    bpy.data.objects.remove(scene.camera)
    assert found(check(scene), "no_camera").operator == ""


def test_an_object_that_is_no_camera(scene):
    good_stage()
    scene.camera = bpy.data.objects["Mover"]
    wrong = found(check(scene), "no_camera")
    assert "Mover is the scene's camera, but it is no camera object." == wrong.message
    mend(wrong)
    assert check(scene).findings == []


@pytest.mark.parametrize("kind, word", [("ORTHO", "orthographic"), ("PANO", "panoramic")])
def test_cameras_that_are_not_perspective(scene, kind, word):
    good_stage()
    scene.camera.data.type = kind
    projection = found(check(scene), "projection")
    assert projection.severity == "block" and word in projection.message
    mend(projection)
    assert check(scene).findings == []


def test_all_that_blocks_is_told_at_once(scene):
    good_stage()
    scene.camera.data.type = "ORTHO"
    scene.view_layers[0].use = False
    assert {"projection", "scene"} <= kinds(check(scene))


def test_what_only_the_capture_finds_out_blocks_too(scene):
    good_stage()
    other = add_camera("Other")
    scene.timeline_markers.new("m", frame=1).camera = scene.camera
    job = Check(scene, properties.request_of(scene))
    job.step()
    other.data.type = "ORTHO"

    def switch(scene, depsgraph):  # a handler of the user's, that no setting shows
        scene.timeline_markers[0].camera = other

    bpy.app.handlers.frame_change_pre.append(switch)
    try:
        report = job.run()
    finally:
        bpy.app.handlers.frame_change_pre.remove(switch)
    assert (found(report, "scene").severity, report.measured) == ("block", None)
    assert "Other is orthographic" in found(report, "scene").message


def test_rigid_bodies_are_baked(scene):
    add_wall(10)
    ball = add_wall(5, width=1, height=1, name="Ball")
    with bpy.context.temp_override(object=ball, active_object=ball, selected_objects=[ball]):
        bpy.ops.rigidbody.world_add()
        scene.rigidbody_world.collection = bpy.data.collections.new("Rigid")
        bpy.ops.rigidbody.object_add(type="ACTIVE")
    scene.rigidbody_world.point_cache.frame_end = 9
    bodies = found(check(scene), "rigid_bodies")
    assert bodies.severity == "block" and bodies.message.startswith("The rigid bodies are not baked")
    mend(bodies)
    report = check(scene)
    assert scene.rigidbody_world.point_cache.is_baked and "rigid_bodies" not in kinds(report)
    # in free fall from rest for 8/24 s: 9.81 / 2 * (8/24)^2 units, less the last frame's; damped by 4 % a second
    assert report.measured.frames[-1].fastest_object == "Ball"
    assert report.measured.frames[-1].fastest == pytest.approx(9.81 / 2 * (64 - 49) / 576 / 5 * 96, rel=0.08)


def test_what_cannot_be_tracked_is_named(scene):
    good_stage()
    smoke = bpy.data.objects.new("Smoke", bpy.data.volumes.new("Smoke"))
    scene.collection.objects.link(smoke)
    untracked = found(check(scene), "untracked")
    assert untracked.severity == "warning" and "Smoke" in untracked.message and "volume" in untracked.message
    assert "note" not in kinds(check(scene)), "not told twice"


def test_missing_files(scene, tmp_path):
    good_stage()
    image = bpy.data.images.new("Paint", 4, 4)
    image.source, image.filepath = "FILE", str(tmp_path / "paint.png")
    unused = check(scene)
    assert "missing_images" not in kinds(unused), "nobody sees it"
    material = bpy.data.materials.new("Painted")
    if not material.node_tree:
        material.use_nodes = True
    material.node_tree.nodes.new("ShaderNodeTexImage").image = image
    bpy.data.objects["Wall"].data.materials.append(material)
    bpy.data.libraries.write(str(tmp_path / "other.blend"), {bpy.data.objects["Mover"]})
    with bpy.data.libraries.load(str(tmp_path / "other.blend"), link=True) as (_, linked):
        linked.objects = ["Mover"]
    (tmp_path / "other.blend").unlink()
    report = check(scene)
    assert "Paint" in found(report, "missing_images").message and "other.blend" in found(report, "missing").message
    assert not any(finding.severity in ("block", "info") for finding in report.findings), "nothing blocks or is told twice"


def test_what_the_capture_notes_is_told(scene):
    good_stage()
    scene.render.use_border = True
    note = found(check(scene), "note")
    assert note.severity == "info" and "render region" in note.message


# the first frame


def cubes(scene):
    """Enough outlines, in a window that can be shifted by 8 pixels."""
    random = np.random.default_rng(3)
    for number in range(10):
        bpy.ops.mesh.primitive_cube_add(size=1.2, location=random.uniform((-3, 6, -2), (3, 12, 2)), rotation=random.uniform(0, 3, 3))
    key(scene.camera, "location", (1, (0, 0, 0)), (9, (0.5, 0, 0)))
    scene.das.width, scene.das.height = 240, 160


def test_a_true_first_frame_lines_up(scene):
    cubes(scene)
    assert check(scene).measured.alignment is None, "rendered from the same scene, it is not looked at unasked"
    report = check(scene, with_first_frame=True)
    assert report.measured.alignment.offset == 0 and report.measured.alignment.match > 0.6
    assert not {"first_frame_offset", "first_frame_match"} & kinds(report)


def test_a_shifted_image_and_another_camera_s(scene, tmp_path):
    cubes(scene)
    picture = first_frame(scene, properties.request_of(scene), BlenderImages())
    scene.das.first_frame, scene.das.first_frame_path = "file", str(tmp_path / "first.png")
    (tmp_path / "first.png").write_bytes(png.encode(np.roll(picture, 8, axis=1)))
    shifted = found(check(scene), "first_frame_offset")
    assert (shifted.severity, shifted.value) == ("block", 8) and "8 pixels right" in shifted.message
    (tmp_path / "first.png").write_bytes(png.encode(picture[::-1, ::-1]))
    assert "first_frame_match" in kinds(check(scene))
    (tmp_path / "first.png").write_bytes(png.encode(picture))
    assert check(scene).findings == []


def test_a_first_frame_that_cannot_be_read_blocks(scene, tmp_path):
    cubes(scene)
    scene.das.first_frame, scene.das.first_frame_path = "file", str(tmp_path / "none.png")
    assert found(check(scene), "first_frame").severity == "block"
    (tmp_path / "none.png").write_bytes(png.encode(np.zeros((8, 8, 3), np.uint8)))
    report = check(scene)
    assert "8x8" in found(report, "first_frame").message and report.measured, "the rest is measured all the same"


# in the window


def run_to_end():
    end = time.monotonic() + 60
    while runner.step():
        assert time.monotonic() < end


def drawn():
    layout = Layout()
    DAS_PT_check.draw(type("Drawn", (), {"layout": layout, "_columns": DAS_PT_check._columns})(), bpy.context)
    return layout.seen


def test_the_operator_checks_in_steps_and_the_panel_shows_it(scene):
    good_stage()
    scene.camera.data.clip_end = 8
    before = scene.frame_current
    assert bpy.ops.das.check_shot() == {"FINISHED"} and runner.running and not bpy.ops.das.check_shot.poll()
    assert "Frames" not in " ".join(drawn())
    steps = 0
    while runner.step():
        steps += 1
    assert steps >= 9 and runner.message == "The shot can work, with 1 warning." and not runner.failed
    seen = drawn()
    assert "Frames 1:9, checked just now" in seen and "das.widen_clipping" in seen and scene.frame_current == before
    assert "The camera's clip end of 8 cuts" in " ".join(seen)
    mend(runner.check.report.findings[0])
    assert "Frames 1:9, out of date" in drawn()


def test_other_settings_make_it_out_of_date(scene):
    good_stage()
    bpy.ops.das.check_shot()
    run_to_end()
    assert "Frames 1:9, checked just now" in drawn()
    scene.das.end = 8
    assert "Frames 1:9, out of date" in drawn()
    assert [ago(seconds) for seconds in (0, 61, 200)] == ["checked just now", "checked 1 minute ago", "checked 3 minutes ago"]


def test_another_scene_and_another_file_show_no_report(scene):
    good_stage()
    bpy.ops.das.check_shot()
    run_to_end()
    check_of = runner.check
    assert check_of.report and len(drawn()) > 2
    other = bpy.data.scenes.new("Other")
    with bpy.context.temp_override(scene=other):
        assert drawn() == ["das.check_shot", "das.check_shot"]
    bpy.ops.wm.read_factory_settings(use_empty=True)
    assert runner.check is None


def test_cancel(scene):
    good_stage()
    bpy.ops.das.check_shot()
    for _ in range(3):
        assert runner.step()
    assert bpy.ops.das.cancel() == {"FINISHED"}
    run_to_end()
    assert (runner.message, runner.failed, runner.check.report) == ("Cancelled.", False, None)
    job = Check(scene, REQUEST)
    job.cancel()
    with pytest.raises(Cancelled):
        job.run()


def test_a_removed_scene_is_told(scene):
    job = Check(bpy.data.scenes.new("Gone"), REQUEST)
    bpy.data.scenes.remove(bpy.data.scenes["Gone"])
    with pytest.raises(Exception, match="removed"):
        job.run()


def test_a_mending_can_be_undone(scene):
    good_stage()
    scene.camera.data.type = "ORTHO"
    bpy.ops.ed.undo_push(message="before")
    assert bpy.ops.das.set_perspective("EXEC_DEFAULT", True, camera="Camera") == {"FINISHED"}
    assert bpy.data.cameras["Camera"].type == "PERSP"
    assert bpy.ops.ed.undo() == {"FINISHED"} and bpy.data.cameras["Camera"].type == "ORTHO"


def test_every_operator_explains_itself(scene):
    for operator in CLASSES:
        assert len(operator.bl_description) > 40 and not operator.bl_description.endswith(".")
        assert "UNDO" in operator.bl_options or operator.bl_idname == "das.check_shot"


def test_mending_what_is_gone_is_an_error(scene):
    with pytest.raises(RuntimeError, match="no camera Gone"):
        bpy.ops.das.set_perspective(camera="Gone")
    with pytest.raises(RuntimeError, match="no rigid bodies"):
        bpy.ops.das.bake_rigid_bodies()
