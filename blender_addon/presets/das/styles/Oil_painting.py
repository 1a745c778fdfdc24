import bpy
das = bpy.context.scene.das

das.style = 'oil painting, thick brush strokes, warm museum light'
