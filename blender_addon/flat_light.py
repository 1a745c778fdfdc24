"""A scene made flat-lit: every surface shines in its own base colour, so that only motion and hiding differ
between frames. What a warp of the first frame is measured against; shadows and highlights would blur that.

Changes the open file's materials and render settings: for files that are not saved afterwards.
"""

from __future__ import annotations

import bpy

SAMPLES = 8
COLOUR_INPUTS = ("Base Color", "Color")


def light_flatly(scene: bpy.types.Scene) -> None:
    """Emission for every material, rendered by Cycles without lights' effect, view transform Standard."""
    for material in bpy.data.materials:
        _emit(material)
    plain = bpy.data.materials.new("Flat grey")
    _emit(plain)
    for thing in scene.objects:
        if thing.type in ("MESH", "CURVE", "FONT", "META", "SURFACE") and not thing.material_slots:
            thing.data.materials.append(plain)
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = SAMPLES
    scene.cycles.use_denoising = False
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.max_bounces = 0
    scene.view_settings.view_transform, scene.view_settings.look = "Standard", "None"
    scene.view_settings.exposure, scene.view_settings.gamma = 0, 1


def _emit(material: bpy.types.Material) -> None:
    """Lead what fed the surface's colour into an emission of strength 1."""
    if bpy.app.version < (5, 0) and not material.use_nodes:  # from 5.0 on every material has nodes
        material.use_nodes = True
        material.node_tree.nodes.clear()
    nodes, links = material.node_tree.nodes, material.node_tree.links
    # Of a file from 4.x, 5.x makes one output for EEVEE and one for Cycles where a material had no nodes.
    output = material.node_tree.get_output_node("CYCLES") or nodes.new("ShaderNodeOutputMaterial")
    emission = nodes.new("ShaderNodeEmission")
    source = _colour_input(output)
    if source is not None and source.is_linked:
        links.new(source.links[0].from_socket, emission.inputs["Color"])
    else:
        colour = material.diffuse_color if source is None else source.default_value
        emission.inputs["Color"].default_value = tuple(colour)
    links.new(emission.outputs["Emission"], output.inputs["Surface"])


def _colour_input(output: bpy.types.Node) -> bpy.types.NodeSocket | None:
    """The colour socket of the shader that the output shows."""
    surface = output.inputs["Surface"]
    if not surface.is_linked:
        return None
    shader = surface.links[0].from_node
    return next((shader.inputs[name] for name in COLOUR_INPUTS if name in shader.inputs), None)
