"""The panel, drawn into a layout that writes down what it is asked for."""

import sys

import msgspec
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from diffusion_as_shader.blender_addon import preferences, properties
from diffusion_as_shader.blender_addon.jobs import Job
from diffusion_as_shader.blender_addon.panels import CLASSES, IN_SEQUENCER
from diffusion_as_shader.blender_addon.runner import runner
from diffusion_as_shader.shared import home
from diffusion_as_shader.shared.options import MODEL_FIELDS
from diffusion_as_shader.shared.request import GenerationRequest

from .panel_layout import Layout, drawn
from .scenes import REQUEST, moving_cube


@pytest.fixture
def scene(addon):
    return moving_cube()


def test_every_panel_is_a_tab_of_the_viewport(scene):
    for panel in CLASSES:
        assert (panel.bl_space_type, panel.bl_region_type, panel.bl_category) == ("VIEW_3D", "UI", "DaS")
        assert hasattr(bpy.types, panel.bl_idname)


def test_the_sequencers_sidebar_has_the_same(scene):
    assert [panel.bl_space_type for panel in IN_SEQUENCER] == ["SEQUENCE_EDITOR"] * len(CLASSES)
    known = {panel.bl_idname for panel in IN_SEQUENCER}
    assert all(hasattr(bpy.types, name) for name in known) and not known & {panel.bl_idname for panel in CLASSES}
    assert {panel.bl_parent_id for panel in IN_SEQUENCER if hasattr(panel, "bl_parent_id")} <= known
    assert drawn(IN_SEQUENCER) == drawn(CLASSES)


def test_what_is_needed_is_there(scene):
    seen = drawn()
    for wanted in ("prompt", "engine", "range", "first_frame", "das.preview_tracking", "das.generate", "width", "seed"):
        assert wanted in seen
    assert not {"start", "end", "das.cancel", "first_frame_path", "first_frame_samples"} & set(seen)


def test_more_is_asked_only_where_it_matters(scene):
    scene.das.range, scene.das.first_frame = "custom", "file"
    assert {"start", "end", "first_frame_path"} <= set(drawn())
    scene.das.first_frame = "cycles"
    assert "first_frame_samples" in drawn()
    assert "points" not in drawn()
    scene.das.write = {"tracks"}
    assert "points" in drawn()


def test_what_is_written_goes_into_the_request_and_back(scene):
    assert properties.request_of(scene).write == ()
    scene.das.write, scene.das.points = {"tracks", "depth"}, "//points.csv"
    request = properties.request_of(scene)
    assert request.write == ("depth", "tracks") and request.points == bpy.path.abspath("//points.csv")
    scene.das.write, scene.das.points = set(), "8x6"
    assert properties.request_of(scene).points == "8x6"
    properties.apply_request(scene, request)
    assert properties.request_of(scene).write == ("depth", "tracks")


def test_progress_and_cancel_while_a_job_runs(scene, tmp_path):
    runner.start(Job(scene, REQUEST, tmp_path / "take", "preview"))
    runner.step()
    seen = drawn()
    assert "Capture 0/9" in seen and "das.cancel" in seen
    runner.close()
    assert "das.cancel" not in drawn()


def test_how_the_last_job_ended(scene, tmp_path):
    scene.camera = None
    runner.start(Job(scene, REQUEST, tmp_path / "take", "preview"))
    while runner.step():
        pass
    seen = drawn()
    assert runner.failed and "no camera" in runner.message and f"{runner.message} {runner.fix}" in " ".join(seen)
    assert "das.find_camera" in seen and "das.copy_report" not in seen


def test_preferences_draw(scene):
    layout, boxes = Layout(), []
    body = {"layout": layout, "bl_rna": preferences.DasPreferences.bl_rna}
    body |= {f"draw_{name}": lambda self, box, context, name=name: boxes.append(name) for name in ("backend", "models")}
    preferences.DasPreferences.draw(type("Drawn", (), body)(), bpy.context)
    assert layout.seen == ["takes_folder", "engine", "Backend", "Models"] and boxes == ["backend", "models"]


def test_a_backend_without_the_model_is_said_where_the_model_is_chosen(scene):
    scene.das.engine = "das"
    for kind in ("model", "projection"):
        entry = home.Environment("backend", "preferences", sys.executable, kind=kind)
        home.environments_file().write_bytes(msgspec.json.encode(home.Environments(environments=[entry])))
        assert ("das.show_preferences" in drawn()) == (kind == "projection")
    scene.das.property_unset("engine")


def test_the_models_settings_are_shown_for_the_model_alone_and_come_back(scene):
    names = {"steps", "guidance_scale", "quality", "weights"}
    scene.das.engine = "projection"
    assert not names & set(drawn())
    scene.das.engine = "das"
    assert names < set(drawn())
    default = GenerationRequest()
    asked = properties.request_of(scene)
    assert all(getattr(asked, name) == getattr(default, name) for name in (*MODEL_FIELDS, "guidance_scale", "weights"))
    request = msgspec.structs.replace(
        asked,
        steps=25,
        guidance="constant",
        guidance_scale=4.3,
        scheduler="ddim",
        tracking_range="unsigned",
        image_latent_scale="div",
        weights="owner/name@main",
        from_base=True,
        quality="draft",
        memory_plan="stream",
    )
    properties.apply_request(scene, request)
    again = properties.request_of(scene)
    assert all(getattr(again, name) == getattr(request, name) for name in (*MODEL_FIELDS, "guidance_scale", "weights"))
    scene.das.property_unset("engine")  # the next test may go on with this scene
