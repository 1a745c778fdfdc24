"""What the panel's settings do: ranges, quality, seeds and variations, presets, a strip's picture as the first frame."""

from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import image_view, properties
from diffusion_as_shader.blender_addon.images import BlenderImages
from diffusion_as_shader.blender_addon.operators.generate import as_draft
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.shared import png
from diffusion_as_shader.shared.errors import UsageError
from diffusion_as_shader.shared.request import FirstFrame, GenerationRequest
from diffusion_as_shader.shared.take import Take
from diffusion_as_shader.shared.task_settings import Repaint

from .scenes import REQUEST


@pytest.fixture
def scene(saved_scene):
    return saved_scene


def three_pictures(scene, folder):
    """A strip over the frames 4 to 6 whose pictures are 10, 20 and 30 grey, made active."""
    folder.mkdir()
    for index in range(3):
        (folder / f"{index}.png").write_bytes(png.encode(np.full((64, 96, 3), 10 * (index + 1), np.uint8)))
    strips = scene.sequence_editor_create().strips
    strip = strips.new_image(name="grey", filepath=str(folder / "0.png"), channel=1, frame_start=4)
    for index in (1, 2):
        strip.elements.append(f"{index}.png")
    scene.sequence_editor.active_strip = strip
    if hasattr(bpy.context.workspace, "sequencer_scene"):
        bpy.context.workspace.sequencer_scene = scene
    return strip


def test_markers_are_a_range(scene):
    scene.das.range = "markers"
    with pytest.raises(UsageError, match="no two markers"):
        properties.frame_range(scene)
    for name, frame in (("c", 30), ("a", 5), ("b", 12)):
        scene.timeline_markers.new(name, frame=frame).select = False
    assert properties.frame_range(scene) == (5, 30)
    for name in "ab":
        scene.timeline_markers[name].select = True
    assert properties.frame_range(scene) == (5, 12)


def test_the_active_strip_is_a_range(scene, tmp_path):
    scene.das.range = "strip"
    with pytest.raises(UsageError, match="no active strip"):
        properties.frame_range(scene)
    three_pictures(scene, tmp_path / "pictures")
    assert properties.frame_range(scene) == (4, 6)


def test_a_quality_sets_steps_and_plan_and_advanced_changes_them(scene):
    settings = scene.das
    settings.memory_plan, settings.quality = "stream", "draft"
    assert (settings.steps, settings.memory_plan) == (25, "auto")
    settings.steps = 31
    request = properties.request_of(scene)
    assert (request.quality, request.steps) == ("draft", 31)
    settings.quality = "final"
    assert settings.steps == 50
    properties.apply_request(scene, request)
    assert (settings.quality, settings.steps) == ("draft", 31), "a take's own steps are kept"


def test_a_style_follows_the_prompt(scene):
    scene.das.prompt, scene.das.style = "a fox, ", "ink and water"
    request = properties.request_of(scene)
    assert request.prompt == "a fox, ink and water"
    properties.apply_request(scene, request)
    assert (scene.das.prompt, scene.das.style) == ("a fox, ink and water", "")
    scene.das.prompt, scene.das.style = "", "ink"
    assert properties.request_of(scene).prompt == "ink"


def requests() -> list[GenerationRequest]:
    return [job.request for job in runner.jobs]


def test_a_seed_that_is_not_locked_is_drawn_and_shown(scene):
    scene.das.lock_seed = False
    seen = set()
    for _ in range(3):
        bpy.ops.das.generate()
        seen.add(scene.das.seed)
        assert requests()[-1].seed == scene.das.seed
    runner.close()
    assert len(seen) == 3


def test_variations_count_up_from_a_locked_seed(scene):
    scene.das.seed, scene.das.variations = 7, 3
    bpy.ops.das.generate()
    assert [request.seed for request in requests()] == [7, 8, 9] and scene.das.seed == 7
    assert len({job.folder for job in runner.jobs}) == 3
    runner.close()


def test_a_preview_draws_no_seed(scene):
    scene.das.lock_seed, scene.das.seed = False, 5
    bpy.ops.das.preview_tracking()
    assert scene.das.seed == 5
    runner.close()


def test_a_projection_preview_is_half_the_size(scene):
    scene.das.engine, scene.das.width, scene.das.height = "das", 720, 480
    scene.das.write, scene.das.variations = {"depth"}, 4
    bpy.ops.das.projection_preview()
    (request,) = requests()
    assert (request.engine, request.width, request.height, request.first_frame.source) == ("projection", 352, 240, "workbench")
    assert request.write == () and request.frames == scene.das.frames
    runner.close()
    assert scene.das.engine == "das" and scene.das.width == 720, "the panel stays as it is"


def test_a_projection_preview_of_an_image_keeps_the_images_size():
    request = GenerationRequest(first_frame=FirstFrame(source="file", path="x.png"), repaint=Repaint(model="sdxl"))
    draft = as_draft(request)
    assert (draft.width, draft.first_frame, draft.repaint.model) == (request.width, request.first_frame, "")


def test_shipped_presets_are_found_and_set_what_they_say(scene):
    for subdir, name in (("das/prompts", "prompt"), ("das/styles", "style")):
        (folder,) = [one for one in bpy.utils.preset_paths(subdir) if "blender_addon" in one]
        files = sorted(Path(folder).glob("*.py"))
        assert len(files) >= 3
        for file in files:
            setattr(scene.das, name, "")
            bpy.utils.execfile(str(file))
            assert len(getattr(scene.das, name)) > 20, file


def test_a_preset_of_ones_own_is_kept_and_removed(scene, tmp_path, monkeypatch):
    folder = tmp_path / "scripts"
    monkeypatch.setattr(bpy.utils, "user_resource", lambda *args, path="", **options: _made(folder / path))
    monkeypatch.setattr(bpy.utils, "preset_find", lambda name, subdir, **options: None)
    scene.das.prompt, scene.das.negative_prompt = "a 'quoted' fox", "rain"
    bpy.ops.das.add_prompt_preset(name="My fox")
    (file,) = folder.rglob("*.py")
    scene.das.prompt = scene.das.negative_prompt = ""
    bpy.utils.execfile(str(file))
    assert (scene.das.prompt, scene.das.negative_prompt) == ("a 'quoted' fox", "rain")


def _made(folder):
    folder.mkdir(parents=True, exist_ok=True)
    return str(folder)


def test_a_strips_picture_becomes_the_first_frame(scene, tmp_path):
    assert not bpy.ops.das.first_frame_from_strip.poll()
    three_pictures(scene, tmp_path / "pictures")
    scene.frame_current = 5
    assert bpy.ops.das.first_frame_from_strip() == {"FINISHED"}
    assert scene.das.first_frame == "file" and scene.das.first_frame_path == "//das/first_frames/grey-5.png"
    picture = BlenderImages().read(tmp_path / "das" / "first_frames" / "grey-5.png")
    assert picture.shape == (64, 96, 3) and (picture == 20).all()
    scene.frame_current = 99
    bpy.ops.das.first_frame_from_strip()
    assert (BlenderImages().read(tmp_path / "das" / "first_frames" / "grey-99.png") == 30).all(), "the nearest"


def test_tracking_is_shown_in_an_image_editor_that_is_open(scene, tmp_path):
    bpy.ops.das.preview_tracking()
    while runner.step():
        pass
    folder = tmp_path / "das" / "shot-001" / "tracking"
    areas = list(image_view.areas_of("IMAGE_EDITOR"))
    assert bool(areas) == ("shot-001 tracking" in bpy.data.images), "nothing is loaded where no editor is open"
    area = bpy.context.window_manager.windows[0].screen.areas[0]
    kind = area.ui_type
    area.ui_type = "IMAGE_EDITOR"
    try:
        image = image_view.show_in_image_editors(folder, "shot-001 tracking", REQUEST)
        assert (image.source, image.filepath) == ("SEQUENCE", "//das/shot-001/tracking/0001.png")
        user = area.spaces.active.image_user
        assert area.spaces.active.image == image and (user.frame_duration, user.frame_start) == (REQUEST.frames, round(REQUEST.start))
        area.spaces.active.image = render = bpy.data.images.new("painted", 8, 8)
        render.pixels[0] = 0.5
        image_view.show_in_image_editors(folder, "shot-001 tracking", REQUEST)
        assert area.spaces.active.image == render, "what is painted stays"
    finally:
        area.ui_type = kind


def test_saving_undoing_and_reverting_in_mid_job_harm_nothing(scene, tmp_path):
    frames = tmp_path / "das" / "shot-001" / "tracking"
    bpy.ops.das.preview_tracking()
    while not (frames / "0002.png").exists():
        assert runner.step()
    bpy.ops.wm.save_mainfile()
    assert not (frames / "0009.png").exists(), "nothing of the job runs while the file is saved"
    bpy.ops.ed.undo_push(message="before")
    bpy.context.scene.das.prompt = "another"
    bpy.ops.ed.undo_push(message="after")
    bpy.ops.ed.undo()
    while runner.step():
        pass
    assert (runner.failed, runner.message) == (False, "shot-001 is ready.")
    bpy.ops.das.preview_tracking()
    assert runner.step()
    bpy.ops.wm.revert_mainfile()
    assert not runner.running and not bpy.app.timers.is_registered(runner._tick)
    record = Take.open(tmp_path / "das" / "shot-002", BlenderImages()).record
    assert record.state == "cancelled"


def test_another_scene_has_its_own_settings_and_strip(scene, tmp_path):
    other = scene.copy()
    other.das.prompt = "other"
    assert scene.das.prompt != "other"
    bpy.ops.das.preview_tracking()
    bpy.context.window.scene = other
    while runner.step():
        pass
    assert not runner.failed and scene.sequence_editor.strips and not (other.sequence_editor and len(other.sequence_editor.strips))
