"""What a clip looks like: light, background and colours, drawn anew for each."""

from __future__ import annotations

import colorsys
import math
from pathlib import Path

import bpy
import numpy as np

SKY = "HOSEK_WILKIE"  # every version has it, and EEVEE shows it
COLOUR_INPUTS = {"BSDF_PRINCIPLED": "Base Color", "BSDF_DIFFUSE": "Color", "EMISSION": "Color", "BSDF_TOON": "Color"}


def vary_lights(scene: bpy.types.Scene, random: np.random.Generator) -> None:
    """Each lamp brighter or darker by up to a stop, warmer or colder, and suns from elsewhere; a sun where there is no lamp."""
    lamps = [thing for thing in scene.objects if thing.type == "LIGHT" and not thing.hide_render] or [_add_sun(scene)]
    lights = {lamp.data.name: lamp.data for lamp in lamps if lamp.data.library is None}  # several lamps may share one
    for light in lights.values():
        light.energy *= 2 ** random.uniform(-1, 1)
        warmth = random.uniform(-0.2, 0.2)
        light.color = [channel * tint for channel, tint in zip(light.color, (1 + min(warmth, 0), 1 - abs(warmth) / 2, 1 - max(warmth, 0)))]
    for lamp in lamps:
        if lamp.data.type == "SUN" and not lamp.constraints and lamp.parent is None:
            lamp.rotation_mode = "XYZ"
            lamp.rotation_euler = (math.radians(random.uniform(15, 60)), 0, random.uniform(0, 2 * math.pi))


def _add_sun(scene: bpy.types.Scene) -> bpy.types.Object:
    data = bpy.data.lights.new("Clip sun", "SUN")
    data.energy, data.angle = 3.0, math.radians(5)
    sun = bpy.data.objects.new("Clip sun", data)
    scene.collection.objects.link(sun)
    return sun


def vary_background(scene: bpy.types.Scene, random: np.random.Generator, own: bool) -> str:
    """A world of one colour or with a sky, or with ``own`` at times the scene's; which of 'colour', 'sky' and 'own'."""
    kind = str(random.choice(["colour", "sky", "own"] if own and scene.world else ["colour", "sky"]))
    if kind == "colour":
        _plain_world(scene, _colour(random, 0.5))
    elif kind == "sky":
        _sky_world(scene, random)
    return kind


def show_panorama(scene: bpy.types.Scene, file: Path, random: np.random.Generator) -> None:
    """An image all around, turned about the vertical."""
    world, background = _new_world(scene)
    nodes, links = world.node_tree.nodes, world.node_tree.links
    image = bpy.data.images.load(str(file))
    around, turn, place = (nodes.new(f"ShaderNode{kind}") for kind in ("TexEnvironment", "Mapping", "TexCoord"))
    around.image = image
    turn.inputs["Rotation"].default_value = (0, 0, random.uniform(0, 2 * math.pi))
    links.new(place.outputs["Generated"], turn.inputs["Vector"])
    links.new(turn.outputs["Vector"], around.inputs["Vector"])
    links.new(around.outputs["Color"], background.inputs["Color"])
    world.color = _mean_colour(image)


def vary_colours(scene: bpy.types.Scene, random: np.random.Generator) -> None:
    """Another colour for each material, textures left as they are; things without a material get one."""
    materials: dict[str, bpy.types.Material] = {}
    for thing in scene.objects:
        if not hasattr(thing.data, "materials") or thing.data.library is not None:
            continue
        if not any(slot.material for slot in thing.material_slots):
            _give_material(thing)
        materials |= {slot.material.name: slot.material for slot in thing.material_slots if slot.material and slot.material.library is None}
    for name in sorted(materials):
        _colour_material(materials[name], _colour(random, 0.8))


def _give_material(thing: bpy.types.Object) -> None:
    material = bpy.data.materials.new(f"{thing.name} colour")
    if bpy.app.version < (5, 0):
        material.use_nodes = True
    if thing.material_slots:
        thing.material_slots[0].material = material
    else:
        thing.data.materials.append(material)


def _colour_material(material: bpy.types.Material, colour: tuple[float, float, float]) -> None:
    material.diffuse_color = (*colour, material.diffuse_color[3])  # what Workbench shows
    for node in material.node_tree.nodes if material.node_tree else ():
        socket = node.inputs.get(COLOUR_INPUTS.get(node.type, ""))
        if socket and not socket.is_linked:
            socket.default_value = (*colour, 1)


def _colour(random: np.random.Generator, most: float) -> tuple[float, float, float]:
    """Any hue; up to so much saturation."""
    return colorsys.hsv_to_rgb(random.uniform(), random.uniform(0, most), random.uniform(0.15, 0.95))


def _plain_world(scene: bpy.types.Scene, colour: tuple[float, float, float]) -> None:
    world, background = _new_world(scene)
    background.inputs["Color"].default_value = (*colour, 1)
    world.color = colour


def _sky_world(scene: bpy.types.Scene, random: np.random.Generator) -> None:
    world, background = _new_world(scene)
    sky = world.node_tree.nodes.new("ShaderNodeTexSky")
    sky.sky_type = SKY
    rise, turn = math.radians(random.uniform(10, 70)), random.uniform(0, 2 * math.pi)
    sky.sun_direction = (math.cos(rise) * math.cos(turn), math.cos(rise) * math.sin(turn), math.sin(rise))
    sky.turbidity = random.uniform(2, 6)
    world.node_tree.links.new(sky.outputs["Color"], background.inputs["Color"])
    world.color = colorsys.hsv_to_rgb(random.uniform(0.55, 0.62), random.uniform(0.2, 0.5), random.uniform(0.6, 0.95))


def _new_world(scene: bpy.types.Scene) -> tuple[bpy.types.World, bpy.types.Node]:
    """A world of the scene's own and its Background node."""
    world = bpy.data.worlds.new("Clip world")
    if bpy.app.version < (5, 0):
        world.use_nodes = True
    scene.world = world
    nodes = world.node_tree.nodes
    nodes.clear()
    background, output = nodes.new("ShaderNodeBackground"), nodes.new("ShaderNodeOutputWorld")
    world.node_tree.links.new(background.outputs["Background"], output.inputs["Surface"])
    return world, background


def _mean_colour(image: bpy.types.Image) -> tuple[float, float, float]:
    """What Workbench, which shows no picture, shows instead."""
    pixels = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(pixels)
    mean = pixels.reshape(-1, image.channels)[:, :3].mean(axis=0)
    return tuple(float(channel) for channel in np.clip(np.resize(mean, 3), 0, 1))
