"""A layout that writes down what a panel draws, and raises as Blender's own would."""

import bpy

from diffusion_as_shader.blender_addon.panels import CLASSES


class Button:
    """What a drawn operator is called with; a wrong name raises as Blender's own would."""

    def __init__(self, known):
        object.__setattr__(self, "known", known)

    def __setattr__(self, name, value):
        assert name in self.known, name


class Layout:
    """Every call of a UILayout, in order; a wrong property or operator raises as Blender's own would."""

    def __init__(self, seen=None):
        object.__setattr__(self, "seen", [] if seen is None else seen)

    def __setattr__(self, name, value):
        assert name in bpy.types.UILayout.bl_rna.properties, name

    def prop(self, data, name, **options):
        self._check("prop", options)
        assert name in data.bl_rna.properties, name
        self.seen.append(name)

    def operator(self, name, **options):
        self._check("operator", options)
        group, _, operator = name.partition(".")
        known = getattr(getattr(bpy.ops, group), operator).get_rna_type().properties
        self.seen.append(name)
        return Button(known)

    def label(self, **options):
        self._check("label", options)
        self.seen.append(options["text"])

    def progress(self, **options):
        self._check("progress", options)
        assert 0 <= options["factor"] <= 1
        self.seen.append(options["text"])

    def prop_search(self, data, name, source, collection, **options):
        self._check("prop_search", options)
        assert name in data.bl_rna.properties and collection in source.bl_rna.properties
        self.seen.append(name)

    def template_icon(self, **options):
        self._check("template_icon", options)
        self.seen.append("icon")

    def popover(self, panel, **options):
        self._check("popover", options)
        assert hasattr(bpy.types, panel), panel
        self.seen.append(panel)

    def panel(self, name, **options):
        self._check("panel", options)
        return Layout(self.seen), Layout(self.seen)

    def _nested(self, **options):
        return Layout(self.seen)

    def template_list(self, kind, identifier, data, name, active_data, active, **options):
        self._check("template_list", options)
        assert hasattr(bpy.types, kind) and name in data.bl_rna.properties and active in active_data.bl_rna.properties
        self.seen.append(name)

    row = column = box = grid_flow = split = _nested

    def _check(self, function, options):
        known = bpy.types.UILayout.bl_rna.functions[function].parameters
        assert set(options) <= set(known.keys()), options
        if "icon" in options:
            assert options["icon"] in known["icon"].enum_items


def drawn(draws=CLASSES) -> list[str]:
    """What the panels that are there now draw, in order."""
    layout = Layout()
    for panel in draws:
        if getattr(panel, "poll", lambda context: True)(bpy.context):
            holder = type("Drawn", (), {"layout": layout, "_columns": panel._columns})()
            panel.draw(holder, bpy.context)
    return layout.seen
