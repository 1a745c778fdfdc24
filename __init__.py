"""Diffusion as Shader for Blender. The extension's entry; also imports where there is no bpy."""


def register():
    from . import blender_addon

    blender_addon.register()


def unregister():
    from . import blender_addon

    blender_addon.unregister()
