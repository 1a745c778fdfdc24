"""What a material does to the surface that wears it, as a viewer of the render sees it."""

from __future__ import annotations

from typing import Literal

import bpy

Look = Literal["solid", "culled", "invisible", "holdout", "see-through"]
SOLID_EVERYWHERE = ("BLENDER_WORKBENCH",)
TRANSPARENT_SHADER, HOLDOUT_SHADER, MIX_SHADER = "BSDF_TRANSPARENT", "HOLDOUT", "MIX_SHADER"


class Looks:
    """The looks of a render engine's materials, each worked out once, and anew at each frame where it is animated.

    ``solid`` shows; ``culled`` shows only its front (EEVEE's Backface Culling); ``invisible`` never shows (a
    Transparent BSDF, or alpha 0); ``holdout`` hides what is behind and shows nothing; ``see-through`` is
    transparent by a texture or mixed, which only the shader knows: it is drawn as solid.
    """

    def __init__(self, engine: str):
        self.engine = engine
        self._known: dict[str, Look] = {}
        self._animated: set[str] = set()

    def next_frame(self) -> None:
        for name in self._animated:
            self._known.pop(name, None)

    def of(self, thing: bpy.types.Object, override: bpy.types.Material | None = None) -> tuple[Look, ...]:
        """The look of each material slot of an evaluated mesh object, at least one; of the view layer's override where
        it has one."""
        if override:
            return (self._look(override),)
        materials, slots = thing.data.materials, thing.material_slots
        looks = []
        for index, material in enumerate(materials):
            if index < len(slots) and slots[index].link == "OBJECT":
                material = slots[index].material
            looks.append(self._look(material) if material else "solid")
        return tuple(looks) or ("solid",)

    def _look(self, material: bpy.types.Material) -> Look:
        name = material.name_full
        if name not in self._known:
            self._known[name] = self._find(material)
            if material.animation_data or (material.node_tree and material.node_tree.animation_data):
                self._animated.add(name)
        return self._known[name]

    def _find(self, material: bpy.types.Material) -> Look:
        if self.engine in SOLID_EVERYWHERE:
            return "solid"
        look = _look_of_nodes(material, self.engine)
        if look == "solid" and self.engine.startswith("BLENDER_EEVEE") and material.use_backface_culling:
            return "culled"
        return look


def displaces(material: bpy.types.Material) -> bool:
    """Does the shader move the surface itself, which no mesh shows?"""
    tree = _nodes(material)
    output = tree.get_output_node("ALL") if tree and material.displacement_method != "BUMP" else None
    return bool(output and output.inputs["Displacement"].is_linked)


def _look_of_nodes(material: bpy.types.Material, engine: str) -> Look:
    tree = _nodes(material)
    output = tree.get_output_node("CYCLES" if engine == "CYCLES" else "EEVEE") if tree else None
    if output is None:
        return "solid"
    if not output.inputs["Surface"].is_linked:
        return "invisible" if output.inputs["Volume"].is_linked else "solid"
    return _look_of(_source(output.inputs["Surface"]))


def _nodes(material: bpy.types.Material) -> bpy.types.NodeTree | None:
    """The shader; before 5.0 a material can do without, afterwards it always has one."""
    return material.node_tree if bpy.app.version >= (5, 0) or material.use_nodes else None


def _look_of(node: bpy.types.Node | None) -> Look:
    if node is None:
        return "solid"
    if node.type == MIX_SHADER:
        return _mixed(node)
    if node.type == TRANSPARENT_SHADER:
        colour = node.inputs["Color"]
        return "see-through" if colour.is_linked or min(colour.default_value[:3]) < 1 else "invisible"
    if node.type == HOLDOUT_SHADER:
        return "holdout"
    alpha = node.inputs.get("Alpha") if node.type == "BSDF_PRINCIPLED" else None
    if alpha is None or (not alpha.is_linked and alpha.default_value >= 1):
        return "solid"
    return "invisible" if not alpha.is_linked and alpha.default_value <= 0 else "see-through"


def _mixed(node: bpy.types.Node) -> Look:
    """A Mix Shader: one of its two, where the factor says so, else a mixture of both."""
    share = node.inputs[0]
    first, second = (_look_of(_source(socket)) for socket in node.inputs[1:3])
    if not share.is_linked and share.default_value in (0.0, 1.0):
        return second if share.default_value else first
    if first == second:
        return first
    return "see-through" if {"invisible", "see-through", "holdout"} & {first, second} else "solid"


def _source(socket: bpy.types.NodeSocket) -> bpy.types.Node | None:
    """The node that feeds a socket, through reroutes."""
    while socket.is_linked:
        node = socket.links[0].from_node
        if node.type != "REROUTE":
            return node
        socket = node.inputs[0]
    return None
