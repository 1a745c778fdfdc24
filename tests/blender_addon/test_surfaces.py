"""What a viewer does not see of a surface is not tracked: transparent materials, backs, holdouts, shadow catchers."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec

from diffusion_as_shader.blender_addon.capture.draw import NumpyDrawer
from diffusion_as_shader.blender_addon.capture.geometry import capture
from diffusion_as_shader.blender_addon.capture.signals import draw_signals

from .scenes import REQUEST, moving_cube

EEVEE = "BLENDER_EEVEE" if bpy.app.version >= (5, 0) else "BLENDER_EEVEE_NEXT"


@pytest.fixture
def scene():
    """The moving cube, and a wall close before the camera that hides it all."""
    scene = moving_cube()
    bpy.ops.mesh.primitive_plane_add(size=10, location=(0, -3, 0), rotation=(np.pi / 2, 0, 0))
    bpy.context.object.name = "Wall"
    scene.render.engine = "CYCLES"
    return scene


def wear(kind: str, **inputs) -> bpy.types.Material:
    """Give the wall a material whose surface is one shader with these input values."""
    material = bpy.data.materials.new("Worn")
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    tree = material.node_tree
    tree.nodes.clear()
    shader, output = tree.nodes.new(kind), tree.nodes.new("ShaderNodeOutputMaterial")
    for name, value in inputs.items():
        shader.inputs[name].default_value = value
    tree.links.new(shader.outputs[0], output.inputs["Surface"])
    bpy.data.objects["Wall"].data.materials.append(material)
    return material


def shares(scene) -> tuple[float, float, list[str]]:
    """How much of the first frame shows the wall and the cube, tracked, and the reasons of what is untracked."""
    with capture(scene, REQUEST) as captured:
        frame = next(iter(draw_signals(captured, REQUEST, NumpyDrawer())))[1]
        numbers = {name: captured.object_names.index(name) + 1 for name in captured.object_names}
        share = [((frame.object == numbers.get(name, 99)) & frame.valid).mean() for name in ("Wall", "Cube")]
        return *share, [f"{each.name}: {each.reason}" for each in captured.untracked]


def test_a_solid_wall_hides_the_cube(scene):
    wear("ShaderNodeBsdfPrincipled")
    assert shares(scene) == (1.0, 0.0, [])


@pytest.mark.parametrize(
    "kind, inputs", [("ShaderNodeBsdfTransparent", {}), ("ShaderNodeBsdfPrincipled", {"Alpha": 0.0})]
)
@pytest.mark.parametrize("engine", ["CYCLES", EEVEE])
def test_a_fully_transparent_wall_is_not_there(scene, kind, inputs, engine):
    scene.render.engine = engine
    wear(kind, **inputs)
    wall, cube, untracked = shares(scene)
    assert wall == 0 and cube > 0.05 and "fully transparent" in untracked[0]


def test_workbench_draws_all_materials(scene):
    scene.render.engine = "BLENDER_WORKBENCH"
    wear("ShaderNodeBsdfTransparent")
    assert shares(scene)[:2] == (1.0, 0.0)


def test_a_half_transparent_wall_is_solid_and_said(scene):
    wear("ShaderNodeBsdfPrincipled", Alpha=0.5)
    wall, cube, untracked = shares(scene)
    assert wall == 1 and cube == 0 and "Wall" in untracked[0] and "solid" in untracked[0]


def test_one_transparent_material_of_two(scene):
    """The left half of the wall, before the cube, is transparent; the right half is not."""
    wall = bpy.data.objects["Wall"]
    wall.data.materials.append(bpy.data.materials.new("Plain"))
    wear("ShaderNodeBsdfTransparent")
    divide = wall.modifiers.new("Halves", "ARRAY")
    divide.count, divide.use_relative_offset, divide.use_constant_offset = 2, False, True
    divide.constant_offset_displace = (10, 0, 0)
    wall.location.x = -5
    with bpy.context.temp_override(object=wall, active_object=wall, selected_objects=[wall]):
        bpy.ops.object.modifier_apply(modifier="Halves")
    wall.data.polygons[0].material_index = 1
    wall_share, cube_share, _ = shares(scene)
    assert wall_share == pytest.approx(0.5, abs=0.02) and cube_share > 0.02


def test_an_animated_alpha(scene):
    """Visible until it has faded out."""
    alpha = wear("ShaderNodeBsdfPrincipled").node_tree.nodes["Principled BSDF"].inputs["Alpha"]
    for frame, value in ((1, 1.0), (8, 0.0)):
        alpha.default_value = value
        alpha.keyframe_insert("default_value", frame=frame)
    with capture(scene, REQUEST) as captured:
        frames = [frame for _, frame in draw_signals(captured, REQUEST, NumpyDrawer())]
    wall = captured.object_names.index("Wall") + 1
    assert (frames[0].object == wall).all() and (frames[4].object == wall).all() and not (frames[-1].object == wall).any()


def test_backfaces_are_culled_in_eevee_only(scene):
    wear("ShaderNodeBsdfPrincipled").use_backface_culling = True
    scene.render.engine = EEVEE
    assert shares(scene)[:2] == (1.0, 0.0)
    bpy.data.objects["Wall"].rotation_euler.x += np.pi
    wall, cube, _ = shares(scene)
    assert wall == 0 and cube > 0.05
    scene.render.engine = "CYCLES"
    assert shares(scene)[:2] == (1.0, 0.0)


def test_a_holdout_shader_hides_and_is_black(scene):
    wear("ShaderNodeHoldout")
    bpy.ops.mesh.primitive_cube_add(size=0.5, location=(-0.5, -4, 0))  # a first frame of nothing at all is an error
    assert shares(scene) == (0.0, 0.0, [])


def test_a_shadow_catcher_is_left_out_in_cycles(scene):
    bpy.data.objects["Wall"].is_shadow_catcher = True
    wall, cube, untracked = shares(scene)
    assert wall == 0 and cube > 0.05 and "shadow" in untracked[0]
    scene.render.engine = EEVEE
    assert shares(scene)[:2] == (1.0, 0.0)


def test_an_object_linked_material_wins_over_the_mesh(scene):
    material, wall = wear("ShaderNodeBsdfTransparent"), bpy.data.objects["Wall"]
    wall.data.materials[0] = bpy.data.materials.new("Plain")
    wall.material_slots[0].link = "OBJECT"
    wall.material_slots[0].material = material
    assert shares(scene)[0] == 0


def test_true_displacement_is_named(scene):
    material = wear("ShaderNodeBsdfPrincipled")
    material.displacement_method = "DISPLACEMENT"
    node = material.node_tree.nodes.new("ShaderNodeDisplacement")
    output = next(each for each in material.node_tree.nodes if each.type == "OUTPUT_MATERIAL")
    material.node_tree.links.new(node.outputs[0], output.inputs["Displacement"])
    assert "displaces" in shares(scene)[2][0]


# the world behind all surfaces


def panning(scene) -> None:
    """The camera turns 10 degrees about its height, without a wall."""
    bpy.data.objects.remove(bpy.data.objects["Wall"])
    for frame, angle in ((1, 0.0), (12, np.radians(10))):
        scene.camera.rotation_euler.z = angle
        scene.camera.location.y = -6 - angle  # what is infinitely far does not see it
        for name in ("rotation_euler", "location"):
            scene.camera.keyframe_insert(name, frame=frame)
    scene.frame_set(1)


def test_the_background_is_black_unless_asked_for(scene):
    panning(scene)
    with capture(scene, REQUEST) as captured:
        last = list(draw_signals(captured, REQUEST, NumpyDrawer()))[-1][1]
    assert not last.tracking[last.object == 0].any() and not last.valid[last.object == 0].any()


def test_a_panning_camera_moves_the_sky(scene):
    """Where a pixel's direction was in the first frame, worked out from the angle alone."""
    panning(scene)
    request = msgspec.structs.replace(REQUEST, background="world")
    with capture(scene, request) as captured:
        frames = [frame for _, frame in draw_signals(captured, request, NumpyDrawer())]
    window, last = captured.cameras[-1].intrinsics, frames[-1]
    sky = last.object == 0
    rows, columns = np.nonzero(sky)
    x, y = (columns + 0.5 - window.cx) / window.fx, (rows + 0.5 - window.cy) / window.fy
    turn = np.radians(10)  # to the left: what the last frame shows stood further left in the first
    ahead = np.cos(turn) + x * np.sin(turn)
    across = window.cx + window.fx * (x * np.cos(turn) - np.sin(turn)) / ahead
    down = window.cy + window.fy * y / ahead
    inside = (across >= 0) & (across < REQUEST.width) & (down >= 0) & (down < REQUEST.height)
    expected = np.zeros((len(rows), 3))
    expected[inside, 0], expected[inside, 1] = across[inside] / REQUEST.width * 255, down[inside] / REQUEST.height * 255
    clear = inside | (across < -0.01) | (across > REQUEST.width)
    assert np.abs(last.tracking[sky].astype(float) - expected)[clear].max() <= 0.51
    assert 0.1 < (~inside).mean() < 0.6 and last.valid[sky].all() and not np.isfinite(last.depth[sky]).any()
    first = frames[0]
    rows, columns = np.nonzero(first.object == 0)
    own = np.stack([(columns + 0.5) / REQUEST.width, (rows + 0.5) / REQUEST.height], axis=1) * 255
    assert np.abs(first.tracking[rows, columns][:, :2] - own).max() <= 0.51


def test_sky_that_a_surface_hid_at_first_is_black_where_that_is_wished(scene):
    panning(scene)
    request = msgspec.structs.replace(REQUEST, background="world", hidden="black")
    with capture(scene, request) as captured:
        frames = [frame for _, frame in draw_signals(captured, request, NumpyDrawer())]
    shown = msgspec.structs.replace(request, hidden="project")
    with capture(scene, shown) as captured:
        projected = [frame for _, frame in draw_signals(captured, shown, NumpyDrawer())]
    sky = projected[-1].object == 0
    became_black = projected[-1].tracking[sky].any(axis=-1) & ~frames[-1].tracking[sky].any(axis=-1)
    assert 20 < became_black.sum() < sky.sum() / 2
