"""What the middle of the picture shows through, or of, surfaces that are not simply solid."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

from . import zoo
from .zoo import film

EEVEE = "BLENDER_EEVEE" if bpy.app.version >= (5, 0) else "BLENDER_EEVEE_NEXT"


@pytest.fixture
def scene():
    """A cube in a glass case of which each test makes what it likes."""
    scene = zoo.stage()
    scene.render.engine = "CYCLES"
    zoo.cube("Inside")
    zoo.cube("Case", size=4)
    return scene


def transparent(tree, output):
    tree.links.new(tree.nodes.new("ShaderNodeBsdfTransparent").outputs[0], output.inputs["Surface"])


def no_alpha(tree, output):
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    shader.inputs["Alpha"].default_value = 0.0
    tree.links.new(shader.outputs[0], output.inputs["Surface"])


def textured_alpha(tree, output):
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    tree.links.new(tree.nodes.new("ShaderNodeTexChecker").outputs[1], shader.inputs["Alpha"])
    tree.links.new(shader.outputs[0], output.inputs["Surface"])


def solid(tree, output):
    tree.links.new(tree.nodes.new("ShaderNodeBsdfDiffuse").outputs[0], output.inputs["Surface"])


def volume_only(tree, output):
    tree.links.new(tree.nodes.new("ShaderNodeVolumeScatter").outputs[0], output.inputs["Volume"])


@pytest.mark.parametrize("engine", ["CYCLES", EEVEE])
@pytest.mark.parametrize("build, shown", [(solid, "Case"), (transparent, "Inside"), (no_alpha, "Inside"), (volume_only, "Inside"), (textured_alpha, "Case")])
def test_materials(scene, engine, build, shown):
    scene.render.engine = engine
    zoo.material(bpy.data.objects["Case"], build)
    found = film(scene)
    assert all(found.seen(index) == (shown, True) for index in (0, 8))
    assert ("Case" in found.untracked) == (build is not solid)


def test_without_a_material(scene):
    assert film(scene).seen(0) == ("Case", True)


@pytest.mark.parametrize("engine, shown", [("CYCLES", "Case"), (EEVEE, "Inside")])
def test_backface_culling(scene, engine, shown):
    """The case is turned inside out: EEVEE sees through its near wall."""
    scene.render.engine = engine
    case = bpy.data.objects["Case"]
    case.data.flip_normals()
    zoo.material(case, solid).use_backface_culling = True
    assert film(scene).seen(0) == (shown, True)


def test_backface_culling_of_a_mirrored_object(scene):
    """A negative scale turns the faces' order in the world, not what is their front."""
    scene.render.engine = EEVEE
    case = bpy.data.objects["Case"]
    case.scale.x = -1
    zoo.material(case, solid).use_backface_culling = True
    assert film(scene).seen(0) == ("Case", True)


@pytest.mark.parametrize("engine, shown", [("CYCLES", ("Inside", True)), (EEVEE, ("Case", True))])
def test_shadow_catchers(scene, engine, shown):
    scene.render.engine = engine
    bpy.data.objects["Case"].is_shadow_catcher = True
    assert film(scene).seen(0) == shown


def test_holdouts(scene):
    bpy.data.objects["Case"].is_holdout = True
    assert film(scene).seen(0) == ("Case", False)


def test_a_holdout_shader(scene):
    hold = lambda tree, output: tree.links.new(tree.nodes.new("ShaderNodeHoldout").outputs[0], output.inputs["Surface"])
    zoo.material(bpy.data.objects["Case"], hold)
    assert film(scene).seen(0) == ("Case", False)


def test_adaptive_subdivision_is_named(scene):
    case = bpy.data.objects["Case"]
    subdivision = case.modifiers.new("Subdivision", "SUBSURF")
    if bpy.app.version >= (5, 0):
        subdivision.use_adaptive_subdivision = True
    else:
        scene.cycles.feature_set = "EXPERIMENTAL"
        case.cycles.use_adaptive_subdivision = True
    assert "adaptive" in film(scene).untracked["Case"]


def test_a_material_of_a_later_slot(scene):
    """Only the wall towards the camera is transparent."""
    case = bpy.data.objects["Case"]
    zoo.material(case, solid)
    zoo.material(case, transparent)
    for polygon in case.data.polygons:
        polygon.material_index = int(np.allclose(polygon.normal, (0, -1, 0)))
    assert film(scene).seen(0) == ("Inside", True)


def test_materials_of_instances(scene):
    """A collection's instance wears what its object wears."""
    case = bpy.data.objects["Case"]
    zoo.material(case, transparent)
    thing = zoo.empty("Instancer")
    thing.instance_type, thing.instance_collection = "COLLECTION", zoo.collection("Cases", case)
    assert film(scene).seen(0) == ("Inside", True)
