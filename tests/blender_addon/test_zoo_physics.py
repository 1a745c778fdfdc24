"""Simulations: captured as playing the scene in the viewport, whole frame after whole frame, shows them.

Fluids are not here: their solver, Mantaflow, does not start in the bpy module (its Python classes lack their methods, and
it ends the process). What they come down to is in the other tests: a mesh whose topology changes and which has no
identity, and a surface with a volume's material.
"""

from types import SimpleNamespace

import pytest

bpy = pytest.importorskip("bpy", reason="needs Blender")

import msgspec

from diffusion_as_shader.blender_addon.capture.physics import Moments
from diffusion_as_shader.shared.errors import Cancelled, SceneError

from . import zoo
from .zoo import ZOO, assert_as_in_the_viewport, assert_follows, film, still


JUMPS = msgspec.structs.replace(ZOO, start=3, end=11, frames=5)  # begins late and leaves out every other frame


@pytest.fixture
def scene():
    return zoo.stage()


def bake(cache: bpy.types.PointCache) -> None:
    cache.frame_start, cache.frame_end = 1, 12
    with bpy.context.temp_override(point_cache=cache):
        bpy.ops.ptcache.bake(bake=True)


def cloth(name: str = "Sheet") -> bpy.types.Object:
    """Pinned by one edge, so that it bends while it falls."""
    thing = zoo.grid(name, cells=5)
    thing.vertex_groups.new(name="Pin").add(range(6), 1.0, "REPLACE")
    thing.modifiers.new("Cloth", "CLOTH").settings.vertex_group_mass = "Pin"
    return thing


@pytest.mark.parametrize("baked", [False, True])
def test_cloth(scene, baked):
    thing = cloth()
    if baked:
        bake(thing.modifiers[0].point_cache)
    found = film(scene, JUMPS)
    assert_as_in_the_viewport(scene, found, "Sheet", atol=2e-3)
    assert any("stepped" in note for note in found.notes) != baked


@pytest.mark.parametrize("baked", [False, True])
def test_soft_body(scene, baked):
    thing = zoo.grid("Soft", cells=5)
    thing.modifiers.new("Soft", "SOFT_BODY").settings.use_goal = False
    if baked:
        bake(thing.modifiers[0].point_cache)
    assert_as_in_the_viewport(scene, film(scene, JUMPS), "Soft", atol=2e-3)


def test_a_scene_that_is_played_stands_where_it_stood_when_escape_ends_it(scene):
    """The engine is a stand-in: a module has no render job that a user could end."""
    thing = zoo.grid("Soft", cells=5)
    thing.modifiers.new("Soft", "SOFT_BODY").settings.use_goal = False
    camera = scene.camera
    camera.keyframe_insert("location", frame=1)
    scene.frame_set(4)
    camera.location.x = 7  # and not keyed
    moments, reached = Moments(scene, [3.0, 9.0]), []
    engine = SimpleNamespace(test_break=lambda: reached.append(scene.frame_current) or scene.frame_current == 6, update_progress=lambda done: None)
    with pytest.raises(Cancelled), moments.kept():
        moments.play(engine)
    assert reached == [4, 1, 2, 3, 4, 5, 6]
    assert scene.frame_current == 4 and camera.location.x == 7


def rigid(name: str, **place) -> bpy.types.Object:
    thing = zoo.cube(name, **place)
    bpy.ops.rigidbody.object_add()
    return thing


def test_rigid_bodies_must_be_baked(scene):
    rigid("Falling", location=(0, 0, 4))
    with pytest.raises(SceneError, match="not baked"):
        film(scene)


def test_baked_rigid_bodies(scene):
    """Falls freely until it tips over a ledge: as the viewport plays it."""
    rigid("Falling", location=(0.4, 0, 0.72))
    rigid("Ledge", size=0.9, location=(-0.2, 0, 0)).rigid_body.type = "PASSIVE"
    scene.rigidbody_world.time_scale = 3
    bake(scene.rigidbody_world.point_cache)
    found = film(scene)
    assert_as_in_the_viewport(scene, found, "Falling", atol=1e-4)
    assert_follows(found, "Ledge", still)


def test_a_free_fall(scene):
    """Half of g t squared, within what steps of 1/240 s are exact to."""
    falling = rigid("Falling")
    falling.rigid_body.linear_damping = falling.rigid_body.angular_damping = 0
    bake(scene.rigidbody_world.point_cache)
    seconds = lambda frame: (frame - 1) / 24
    assert_follows(film(scene), "Falling", lambda rest, frame: rest - (0, 0, 4.905 * seconds(frame) ** 2), atol=0.03)


@pytest.mark.parametrize("surface_type", ["DISPLACE", "WAVE"])
def test_dynamic_paint_that_moves_the_surface(scene, surface_type):
    canvas, brush = zoo.grid("Canvas", cells=10), zoo.slide(zoo.cube("Brush", size=0.6))
    for thing, kind in ((canvas, "CANVAS"), (brush, "BRUSH")):
        thing.modifiers.new("Paint", "DYNAMIC_PAINT").ui_type = kind
        bpy.context.view_layer.objects.active = thing
        bpy.ops.dpaint.type_toggle(type=kind)
    canvas.modifiers[0].canvas_settings.canvas_surfaces[0].surface_type = surface_type
    found = film(scene, JUMPS)
    assert_as_in_the_viewport(scene, found, "Canvas", atol=1e-3)
    assert_as_in_the_viewport(scene, found, "Brush")
